"""The journals of jobs, read again only when they have grown."""

from __future__ import annotations

from pathlib import Path

from flashlink.jobscript.journal import Event, parse


class Journals:
    """Remembers what was read of each pod's journal."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int], list[Event]]] = {}

    def read(self, uid: str, folder: Path) -> list[Event]:
        """The events so far; none if there is no journal, or it cannot be read now.

        Args:
            uid: The pod's uid.
            folder: The pod's private folder.
        """
        path = folder / "journal"
        try:
            facts = path.stat()
            version = (facts.st_size, facts.st_mtime_ns)
            known = self._known.get(uid)
            if known is None or known[0] != version:
                known = self._known[uid] = (version, parse(path.read_bytes()))
        except OSError:
            return []
        return known[1]

    def forget(self, uid: str) -> None:
        """Let go of a journal that will not be read again."""
        self._known.pop(uid, None)
