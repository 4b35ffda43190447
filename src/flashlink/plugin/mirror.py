"""A pod's folder as its job reports it: the journal and the logs, added to piece by piece (docs/decisions/006).

A job on a machine that shares no file system with the plugin sends what its files have grown by. Here they grow by the
same bytes, so that all that reads a pod's folder (states, logs) reads the same as where the folder is shared. A piece
that is here already changes nothing, one that would leave a gap is not taken, and the answer always tells how much of
each file is here: after whatever went wrong, the job goes on from there.

A batch system may run a job again from its start. Then all files begin anew at the worker, and go on here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flashlink.errors import RequestError

#: In the plugin's own folder of the pod: which run of the job reports, and how much of each file earlier runs left. A
#: job that finds it in its folder shares the plugin's file system and has nothing to report.
MARK = "reports.json"

#: Most files of one pod.
MOST_FILES = 30_000

_CONTAINER = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_NAME = re.compile(
    rf"journal|logs/(?P<container>{_CONTAINER})\.(?P<instance>[0-9]{{1,6}})\."
    r"(?:log(\.(?P<start>[0-9]{1,15}))?|times|reason|message)",
    re.ASCII,
)
_HEAD = re.compile(rb"([!-~]{1,100}) ([0-9]{1,15}) ([0-9]{1,9})\n")
_LONGEST_HEAD = 130


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes `content` of the file `name` from `offset` on."""

    name: str
    offset: int
    content: bytes


def pieces(body: bytes, containers: Sequence[str]) -> list[Piece]:
    """The pieces in the body of a report: each a line ``NAME OFFSET LENGTH``, then that many bytes.

    Raises:
        RequestError: It is not of that form, or names a file that no job of `containers` writes.
    """
    return list(_pieces(body, containers))


def _pieces(body: bytes, containers: Sequence[str]) -> Iterator[Piece]:
    position = 0
    while position < len(body):
        head = _HEAD.match(body, position, position + _LONGEST_HEAD)
        if head is None:
            raise RequestError(f"report: no line NAME OFFSET LENGTH at byte {position}; send it again")
        name, offset, length = head[1].decode(), int(head[2]), int(head[3])
        known = _NAME.fullmatch(name)
        if known is None or (known["container"] is not None and known["container"] not in containers):
            raise RequestError(f"report: {name!r} is no file of this pod that a job reports")
        content = body[head.end() : head.end() + length]
        if len(content) < length:
            raise RequestError(f"report: {name} is cut short; send it again")
        yield Piece(name, offset, content)
        position = head.end() + length


def outdated(names: Iterable[str]) -> list[str]:
    """Those of a pod's files that its job keeps no longer (docs/decisions/005).

    A log is its beginning and the newest two pieces of what follows; a container has the logs of its newest two
    instances.
    """
    matches = {name: match for name in names if (match := _NAME.fullmatch(name)) and match["container"]}
    instances: dict[str, set[int]] = {}
    starts: dict[str, set[int]] = {}
    for match in matches.values():
        instances.setdefault(match["container"], set()).add(int(match["instance"]))
        if match["start"]:
            starts.setdefault(_log(match), set()).add(int(match["start"]))
    return [
        name
        for name, match in matches.items()
        if int(match["instance"]) not in _newest(instances[match["container"]])
        or (match["start"] and int(match["start"]) not in _newest(starts[_log(match)]))
    ]


def _log(match: re.Match[str]) -> str:
    return f"{match['container']}.{match['instance']}"


def _newest(numbers: Iterable[int]) -> list[int]:
    return sorted(numbers)[-2:]


class Mirror:
    """The files of one pod at the plugin. Not for two threads at once.

    Args:
        folder: The plugin's folder of the pod.
        largest: Bytes of a file after which its further pieces are taken and thrown away.
    """

    def __init__(self, folder: Path, largest: int) -> None:
        self._folder = folder
        self._largest = largest

    def prepare(self) -> None:
        """Mark the folder as one that is reported to; what it holds already stays.

        Raises:
            OSError: It cannot be written.
        """
        if not (self._folder / MARK).exists():
            self._write_mark({"run": 0, "bases": {}})

    def add(self, run: float, given: Sequence[Piece]) -> dict[str, int]:
        """Add pieces of one run of the job, and tell how many bytes of each file of that run are here.

        Args:
            run: When that run began, seconds since the epoch; a later one supersedes all before.
            given: In the order in which they are to become visible.

        Raises:
            RequestError: A later run has reported already, or the pod has too many files.
            OSError: The folder cannot be written.
        """
        mark = json.loads((self._folder / MARK).read_text("ascii"))
        if run < mark["run"]:
            raise RequestError("report: a later run of this job reports now; this one has been given up")
        if run > mark["run"]:
            mark = {"run": run, "bases": self._sizes()}
            self._write_mark(mark)
        bases: dict[str, int] = mark["bases"]
        sizes = self._sizes()
        for piece in given:
            sizes[piece.name] = self._append(piece, bases.get(piece.name, 0), sizes.get(piece.name, 0))
        for name in outdated(sizes):
            (self._folder / name).unlink(missing_ok=True)
            del sizes[name]
        if len(sizes) > MOST_FILES:
            raise RequestError(f"report: the pod has more than {MOST_FILES} files; no more are taken")
        return {name: size - bases.get(name, 0) for name, size in sizes.items() if size > bases.get(name, 0)}

    def _append(self, piece: Piece, base: int, size: int) -> int:
        """Add what of a piece is new; the size of the file as the job shall see it, `base` included."""
        start, end = base + piece.offset, base + piece.offset + len(piece.content)
        if size >= self._largest:
            return max(end, size)
        if start > size or end <= size:
            return size
        path = self._folder / piece.name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0) as file:
            file.write(piece.content[size - start :])
            return os.fstat(file.fileno()).st_size

    def _sizes(self) -> dict[str, int]:
        """Bytes of each file that is here."""
        found = {}
        for place, prefix in ((self._folder, ""), (self._folder / "logs", "logs/")):
            if place.is_dir():
                for entry in os.scandir(place):
                    if _NAME.fullmatch(prefix + entry.name) and entry.is_file(follow_symlinks=False):
                        found[prefix + entry.name] = entry.stat(follow_symlinks=False).st_size
        return found

    def _write_mark(self, mark: dict[str, Any]) -> None:
        draft = self._folder / f"{MARK}.new"
        draft.write_text(json.dumps(mark), "ascii")
        draft.replace(self._folder / MARK)
