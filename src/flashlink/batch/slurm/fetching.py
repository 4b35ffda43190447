"""Files of jobs on their way here: where a piece belongs, and how those of an ended job come in whole.

Files only grow: a piece is written where it belongs, so asking twice, or being killed in between, changes nothing. The
journal is listed first and fetched last: when it tells that a container has ended, all that it wrote is there.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flashlink.batch.slurm.commands import Answer, Command
from flashlink.errors import SiteError

#: Bytes that one answer may hold, of a single file, and in how many pieces.
MOST, MOST_OF_FILE, MOST_PIECES = 8 * 2**20, 2 * 2**20, 500

_LOG = re.compile(r"logs/[A-Za-z0-9][A-Za-z0-9.-]{0,120}", re.ASCII)
_LINE = re.compile(r"([0-9]{1,15}) ([A-Za-z0-9_-]{1,64})/(\S+)", re.ASCII)

_LIST = """cd -- "$0" || exit
for each in "$@"; do [ ! -d "$each" ] || printf "0 %s/.\\n" "$each"; done
find "$@" -mindepth 1 -maxdepth 1 -type f '(' -name journal -o -name job.log ')' -printf "%s %p\\n" 2>/dev/null
find "${@/%//logs}" -mindepth 1 -maxdepth 1 -type f -printf "%s %p\\n" 2>/dev/null
true"""

#: Size by an open file, as the size in a folder may be an old one on a network's file system.
_READ = """cd -- "$0" || exit
while (($#)); do
  if { exec 5<"$1"; } 2>/dev/null; then
    printf "%s " "$(stat -L -c %s /dev/fd/5)"
    tail -c "+$(($2 + 1))" <&5 | head -c "$3" | base64 -w 0
    exec 5<&-
  fi
  echo
  shift 3
done"""


@dataclass(frozen=True, slots=True)
class Piece:
    """`length` bytes of the file `name` of a job from `offset` on."""

    uid: str
    name: str
    offset: int
    length: int


def is_written_by_job(name: str) -> bool:
    """Whether a job writes a file of this name, relative to its folder."""
    return name in ("journal", "job.log") or _LOG.fullmatch(name) is not None


def listing(root: str, uids: Sequence[str], seconds: int) -> Command:
    """Which files jobs have written, and how much."""
    return Command(("bash", "-c", _LIST, root, *uids), seconds=seconds)


def listed(answer: Answer) -> dict[str, dict[str, int]]:
    """Of each job whose folder is there: its files and their sizes, by the answer to `listing`."""
    found: dict[str, dict[str, int]] = {}
    for match in filter(None, map(_LINE.fullmatch, answer.output.splitlines())):
        names = found.setdefault(match[2], {})
        if is_written_by_job(match[3]):
            names[match[3]] = int(match[1])
    return found


def pieces(root: str, wanted: Sequence[Piece], seconds: int) -> Command:
    """The bytes of pieces."""
    words = (word for piece in wanted for word in (f"{piece.uid}/{piece.name}", str(piece.offset), str(piece.length)))
    return Command(("bash", "-c", _READ, root, *words), seconds=seconds)


def contents(answer: Answer, count: int) -> list[tuple[int, bytes]]:
    """Of each piece the size of its file, -1 if that is gone, and the bytes; by the answer to `pieces`.

    Raises:
        SiteError: Transient: this is no whole answer.
    """
    lines = answer.output.splitlines()
    try:
        if len(lines) != count:
            raise ValueError(f"{len(lines)} pieces in place of {count}")
        return [_content(line) for line in lines]
    except (ValueError, binascii.Error) as error:
        raise SiteError(f"no whole answer from where the jobs' files are: {error}", transient=True) from None


def _content(line: str) -> tuple[int, bytes]:
    size, _, text = line.partition(" ")
    return (int(size), base64.b64decode(text, validate=True)) if size else (-1, b"")


def here(folder: Path) -> dict[str, int]:
    """Names and sizes of the files of a job that are here."""
    found: dict[str, int] = {}
    for place, before in ((folder, ""), (folder / "logs", "logs/")):
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(place) as entries:
            for entry in entries:
                if is_written_by_job(name := before + entry.name) and not entry.is_dir(follow_symlinks=False):
                    found[name] = entry.stat(follow_symlinks=False).st_size
    return found


def write(folder: Path, piece: Piece, size: int, content: bytes) -> None:
    """Put a piece of a file that has so many bytes at the site where it belongs.

    Args:
        folder: Made at the first byte; what holds it is not.
        piece: Which.
        size: Of the whole file; less than the piece's offset where the job has begun it anew: it is empty here, then.
        content: The bytes.

    Raises:
        OSError: It cannot be written.
    """
    path = folder / piece.name
    for place in (folder, path.parent):
        place.mkdir(mode=0o700, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0) as file:
        if size < piece.offset:
            file.truncate(0)
            return
        file.seek(piece.offset)
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]


class Files:
    """The files of one ended job, on their way into the plugin's folder.

    Args:
        folder: The plugin's.
        there: Those that the job has, and their sizes; logs that it keeps no longer are removed.
    """

    def __init__(self, folder: Path, there: Mapping[str, int]) -> None:
        self.folder = folder
        self._there = dict(there)
        self._asked: set[str] = set()
        for name in here(folder):
            if name.startswith("logs/") and name not in there:
                (folder / name).unlink(missing_ok=True)

    def missing(self) -> Iterator[tuple[str, int, int]]:
        """Name, offset and length of what is not here yet, the journal last; each file is asked for once at least."""
        for name in sorted(self._there, key=lambda name: (name == "journal", name)):
            offset = self._size(name)
            length = self._there[name] - offset
            if length > 0 or name not in self._asked:
                yield name, offset, min(max(length, 1), MOST_OF_FILE)

    def take(self, piece: Piece, size: int, content: bytes) -> None:
        """Write a piece of a file that has so many bytes at the site, or -1 if it is gone.

        Raises:
            OSError: It cannot be written.
        """
        if piece.name not in self._asked:
            self._there[piece.name] = size
        self._asked.add(piece.name)
        if size < 0:
            return
        write(self.folder, piece, size, content)
        if not content and size >= piece.offset:  # it cannot be read, whatever its size
            self._there[piece.name] = piece.offset

    def _size(self, name: str) -> int:
        try:
            return (self.folder / name).stat(follow_symlinks=False).st_size
        except OSError:
            return 0


def wanted(files: Mapping[str, Files]) -> list[Piece]:
    """The next pieces of these jobs' files, as many as one answer holds."""
    chosen: list[Piece] = []
    left = MOST
    for uid, each in files.items():
        for name, offset, length in each.missing():
            if left < length or len(chosen) == MOST_PIECES:
                return chosen
            chosen.append(Piece(uid, name, offset, length))
            left -= length
    return chosen
