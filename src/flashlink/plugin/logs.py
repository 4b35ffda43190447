"""What a container wrote, as ``kubectl logs`` shows it, read from the files of docs/decisions/001.

A log is cut to a window first: ``Tail`` and ``SinceTime`` each leave an end of the file, so the later of their two
starts counts. Lines then go out in blocks, with their times before them where asked, and ``Bytes`` cuts what goes out
after the first N bytes. No more of a file is read than that needs: the tail of a huge log costs as much as that of a
small one. Where the middle of a log is missing, because the site bounds it, a line says so.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flashlink.errors import wrong
from flashlink.plugin.pieces import Pieces
from flashlink.pods.wire import LogOptions

#: Bytes read at once.
BLOCK = 65536


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of a log is wanted, checked.

    Attributes:
        tail: Lines from the end; 0 is all of them.
        limit: Bytes to put out at most; 0 is no limit.
        since: Seconds since the epoch of the first line, or None.
        timestamps: Put each line's time before it.
        follow: Go on until the container ends.
        previous: The instance before the current one.
    """

    tail: int = 0
    limit: int = 0
    since: float | None = None
    timestamps: bool = False
    follow: bool = False
    previous: bool = False


def wanted(options: LogOptions, now: float) -> Wanted:
    """Check interLink's options; zero and negative numbers, and Go's zero time, mean "not given".

    Args:
        options: As they came.
        now: Seconds since the epoch, which ``SinceSeconds`` counts back from.

    Raises:
        RequestError: ``SinceTime`` is no RFC 3339 time.
    """
    since = now - options.SinceSeconds if options.SinceSeconds > 0 else _since_time(options.SinceTime)
    return Wanted(
        tail=max(options.Tail, 0),
        limit=max(options.Bytes, 0),
        since=since,
        timestamps=options.Timestamps,
        follow=options.Follow,
        previous=options.Previous,
    )


def _since_time(text: str) -> float | None:
    if not text or text.startswith("0001-01-01T00:00:00"):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise wrong("getLogs: Opts.SinceTime", text, "an RFC 3339 time such as 2026-01-02T03:04:05Z") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def instance(folder: Path, container: str, *, previous: bool = False) -> Path | None:
    """The log of the current instance of a container, or of the one before it; None if there is none.

    Args:
        folder: The pod's folder.
        container: Name, checked to be a DNS label.
        previous: The one before the current one.
    """
    numbers = []
    for path in (folder / "logs").glob(f"{container}.*.log"):
        number = path.name[len(container) + 1 : -len(".log")]
        if number.isdecimal():
            numbers.append(int(number))
    numbers.sort(reverse=True)
    chosen = numbers[1:] if previous else numbers
    return folder / "logs" / f"{container}.{chosen[0]}.log" if chosen else None


class Log:
    """One log, open for reading at the start of the wanted window.

    Args:
        path: The ``.log`` file; its ``.times`` lies beside it.
        wanted: The part of it to put out.

    Raises:
        OSError: It cannot be opened, or is a symbolic link.
    """

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self._pieces = Pieces(path)
        self._times = Times(path.with_suffix(".times"))
        self._stamps = wanted.timestamps
        self._left = wanted.limit or None
        size = self._pieces.end
        since = 0 if wanted.since is None else self._line_start(self._times.size_before(wanted.since), size)
        self._position = max(since, self._tail_start(wanted.tail, size) if wanted.tail else 0)
        self._end = None if wanted.follow else size
        self._at_line_start = True

    def close(self) -> None:
        """Close its files."""
        self._pieces.close()

    @property
    def full(self) -> bool:
        """All the bytes that were asked for are out."""
        return self._left is not None and self._left <= 0

    def read(self) -> bytes:
        """The next piece of output; empty if there is nothing more for now."""
        if self.full:
            return b""
        block = self._block()
        piece = (b"".join(self._stamped(block)) if self._stamps else block) if block else self._mark()
        self._position += len(block)
        if block:
            self._at_line_start = block.endswith(b"\n")
        if self._left is not None:
            piece = piece[: self._left]
            self._left -= len(piece)
        return piece

    def _block(self) -> bytes:
        if self._end is not None:
            return self._pieces.read(self._position, max(min(BLOCK, self._end - self._position), 0))
        self._pieces.pass_by(self._position)
        block = self._pieces.read(self._position, BLOCK)
        if not block:
            self._pieces.refresh()
            block = self._pieces.read(self._position, BLOCK)
        return block

    def _mark(self) -> bytes:
        """A line in place of output that is not there any more; empty if there is none at this position."""
        resumed = self._pieces.after_gap(self._position)
        if resumed is None or (self._end is not None and resumed >= self._end):
            return b""
        # Half a line would be taken for a whole one; but a line may also be longer than what is kept.
        resumed += self._pieces.read(resumed, BLOCK).find(b"\n") + 1
        mark = f"[flashlink: {resumed - self._position} bytes were cut here]\n".encode()
        if self._stamps:
            mark = self._stamp(resumed) + mark
        if not self._at_line_start:
            mark = b"\n" + mark
        self._position, self._at_line_start = resumed, True
        return mark

    def _stamped(self, block: bytes) -> Iterator[bytes]:
        position, at_line_start = self._position, self._at_line_start
        for line in _lines(block):
            if at_line_start:
                yield self._stamp(position)
            yield line
            position += len(line)
            at_line_start = line.endswith(b"\n")

    def _stamp(self, position: int) -> bytes:
        return f"{nanoseconds(self._times.of(position))} ".encode()

    def _tail_start(self, lines: int, size: int) -> int:
        """Where the last `lines` lines before `size` start; a last line without a newline counts as one."""
        position, newlines = size, lines + 1
        if self._pieces.read_back(size, 1)[1] != b"\n":
            newlines -= 1
        while True:
            start, block = self._pieces.read_back(position, BLOCK)
            if not block:
                return 0
            found = block.count(b"\n")
            if found >= newlines:
                return start + _nth_last_newline(block, newlines) + 1
            newlines -= found
            position = start

    def _line_start(self, position: int, size: int) -> int:
        """Where the first line that starts at or after `position` starts; `position` itself if that is missing."""
        position = min(position, size)
        if position <= 0 or self._pieces.read(position - 1, 1) in (b"\n", b""):
            return position
        while block := self._pieces.read(position, BLOCK):
            if (newline := block.find(b"\n")) >= 0:
                return position + newline + 1
            position += len(block)
        return position


def _lines(block: bytes) -> list[bytes]:
    """Split at newlines alone: a progress bar's carriage returns do not end a line."""
    parts = block.split(b"\n")
    last = parts.pop()
    return [part + b"\n" for part in parts] + ([last] if last else [])


def _nth_last_newline(block: bytes, number: int) -> int:
    end = len(block)
    for _ in range(number):
        end = block.rindex(b"\n", 0, end)
    return end


class Times:
    """When a log had which size: the notes of the job's watcher, one ``<seconds> <size>`` a line, both only growing.

    The time of a line is that of the first note whose size covers the line's first byte; bytes that no note covers yet
    have the time of the file itself.

    Args:
        path: The ``.times`` file; it may be missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._notes: list[tuple[float, int]] = []
        self._read = 0
        self._next = 0

    def size_before(self, since: float) -> int:
        """The size that the log had before `since`: all up to there is older."""
        self._update()
        noted = bool(self._notes) and self._notes[-1][0] >= since
        if not noted and self._latest() < since:  # what no note covers yet is older, too
            return sys.maxsize
        return max((size for time, size in self._notes if time < since), default=0)

    def of(self, position: int) -> float:
        """The time of the byte at `position`; positions are asked for in growing order."""
        if not self._covers(position):
            self._update()
        if self._covers(position):
            return self._notes[self._next][0]
        return self._latest()

    def _covers(self, position: int) -> bool:
        while self._next < len(self._notes) and self._notes[self._next][1] <= position:
            self._next += 1
        return self._next < len(self._notes)

    def _latest(self) -> float:
        try:
            return self._path.with_suffix(".log").stat().st_mtime
        except OSError:
            return self._notes[-1][0] if self._notes else 0.0

    def _update(self) -> None:
        """Read the notes that have been added; a torn last line waits for its rest, a broken one is passed over."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                added = file.read()
        except OSError:
            return
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            seconds, _, size = line.partition(b" ")
            try:
                time, note = float(seconds), int(size)
            except ValueError:
                continue
            if math.isfinite(time):
                self._notes.append((time, note))


def nanoseconds(seconds: float) -> str:
    """RFC 3339 in UTC with nanoseconds, as ``kubectl logs --timestamps`` shows times."""
    whole = int(seconds)
    fraction = round((seconds - whole) * 1e9)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{min(fraction, 999_999_999):09d}Z"
