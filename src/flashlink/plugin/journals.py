"""The journals of jobs, read again only when they have grown, with the reasons that lie beside them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from flashlink.jobscript.journal import Ended, Event, parse

#: Causes of an end for which the job leaves a reason (docs/decisions/001), and how much of it is shown.
EXPLAINED, LONGEST = {"runtime", "evicted", "oom", "probe", "hook"}, 500

#: What Kubernetes takes of the message that a container leaves, in bytes.
LONGEST_MESSAGE = 4096

#: The events of a pod that has no journal.
NOTHING: list[Event] = []


class Journals:
    """Remembers what was read of each pod's journal."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int], list[Event]]] = {}

    def read(self, uid: str, folder: Path) -> list[Event]:
        """The events so far, the same list as long as nothing is new; `NOTHING` if there is no journal to be read now.

        Args:
            uid: The pod's uid.
            folder: The pod's private folder.
        """
        path = os.path.join(folder, "journal")  # noqa: PTH118 (a sweep asks for ten thousand, and pathlib takes longer)
        try:
            facts = os.stat(path)  # noqa: PTH116
            version = (facts.st_size, facts.st_mtime_ns)
            known = self._known.get(uid)
            if known is None or known[0] != version:
                events = [_explained(event, folder) for event in parse(Path(path).read_bytes())]
                known = self._known[uid] = (version, events)
        except OSError:
            return NOTHING
        return known[1]

    def forget(self, uid: str) -> None:
        """Let go of a journal that will not be read again."""
        self._known.pop(uid, None)


def _explained(event: Event, folder: Path) -> Event:
    if not isinstance(event, Ended):
        return event
    beside = folder / "logs" / f"{event.container}.{event.instance}"
    message = _read(beside.with_name(beside.name + ".message"), LONGEST_MESSAGE)
    reason = _reason(beside.with_name(beside.name + ".reason")) if event.cause in EXPLAINED else ""
    return replace(event, reason=reason, message=message)


def _reason(path: Path) -> str:
    """One printable line, whatever a container may have put in the place of the file."""
    text = _read(path, 4 * LONGEST)
    line = "".join(each if each.isprintable() else " " for each in " ".join(text.split()))
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def _read(path: Path, most: int) -> str:
    """The beginning of a file that is one; "" if there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            return file.read(most).decode("utf-8", "replace")
    except OSError:
        return ""
