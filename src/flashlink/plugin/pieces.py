"""The pieces of a container's log as one text, of which the middle may be missing.

The log's own file holds its beginning. Where the site bounds logs, further files ``<log>.<start>`` hold what came
after, each named by the position of its first byte, and the oldest of them go (docs/decisions/005). So positions count
from the first byte that was ever written.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(slots=True)
class _Piece:
    start: int
    handle: int

    @property
    def end(self) -> int:
        return self.start + os.fstat(self.handle).st_size


class Pieces:
    """The pieces of one log, open for reading.

    Args:
        path: The log's own file.

    Raises:
        OSError: It cannot be opened, or is a symbolic link.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pieces = [_Piece(0, os.open(path, _FLAGS))]
        self.refresh()

    def close(self) -> None:
        """Close the files."""
        for piece in self._pieces:
            os.close(piece.handle)
        self._pieces.clear()

    @property
    def end(self) -> int:
        """The position after the last byte."""
        return self._pieces[-1].end

    def read(self, position: int, length: int) -> bytes:
        """At most `length` bytes from `position` on; nothing where none are there, or not any more."""
        for piece in reversed(self._pieces):
            if piece.start <= position:
                return os.pread(piece.handle, length, position - piece.start)
        return b""

    def read_back(self, position: int, length: int) -> tuple[int, bytes]:
        """At most `length` bytes of those that stand next before `position`, and the position of their first."""
        for piece in reversed(self._pieces):
            if piece.start < position and (end := min(position, piece.end)) > piece.start:
                start = max(piece.start, end - length)
                return start, os.pread(piece.handle, end - start, start - piece.start)
        return 0, b""

    def after_gap(self, position: int) -> int | None:
        """Where it goes on after `position`, of which nothing can be read; None if it does not."""
        return next((piece.start for piece in self._pieces if piece.start > position), None)

    def refresh(self) -> None:
        """Look for pieces that have been added, and at the last one anew, as another machine may write it."""
        last = self._pieces[-1]
        for start in sorted(start for start in self._starts() if start >= last.start):
            with suppress(FileNotFoundError):  # the log has grown on meanwhile
                handle = os.open(self._file(start), _FLAGS)
                if start == last.start:
                    os.dup2(handle, last.handle, inheritable=False)
                    os.close(handle)
                else:
                    self._pieces.append(_Piece(start, handle))

    def pass_by(self, position: int) -> None:
        """Let go of pieces that end before `position`, so that their space on disk is free once they are removed."""
        while len(self._pieces) > 1 and self._pieces[1].start <= position:
            os.close(self._pieces.pop(0).handle)

    def _starts(self) -> list[int]:
        prefix = f"{self._path.name}."
        with os.scandir(self._path.parent) as entries:
            names = [entry.name.removeprefix(prefix) for entry in entries if entry.name.startswith(prefix)]
        return [0, *(int(name) for name in names if name.isascii() and name.isdecimal() and len(name) < 20)]

    def _file(self, start: int) -> Path:
        return self._path if start == 0 else self._path.with_name(f"{self._path.name}.{start}")
