"""Ctrl-C and its relatives, as something to ask about in place of something that happens anywhere."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Counts signals that ask the run to end, while it is used in a ``with`` statement.

    Attributes:
        count: How often the user has asked.
        first: The first signal.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Begin to count."""
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Handle signals as before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_status(self) -> int:
        """As a shell tells the signal."""
        return 128 + (self.first or signal.SIGINT)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.count += 1
        self.first = self.first or signal.Signals(number)
