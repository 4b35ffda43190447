"""Trying again, later and later."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Seconds before the first and, at most, before any further try.
FIRST, LONGEST = 1.0, 60.0


@dataclass(slots=True)
class Backoff:
    """For each thing that may fail, when it may be tried again: after 1, 2, 4 … 60 s."""

    _failures: dict[str, int] = field(default_factory=dict)
    _until: dict[str, float] = field(default_factory=dict)

    def ready(self, thing: str, now: float) -> bool:
        """True if `thing` may be tried at `now` (seconds, any clock)."""
        return now >= self._until.get(thing, 0.0)

    def failed(self, thing: str, now: float, longest: float | None = None) -> float:
        """Note a failure; returns the seconds to wait, `longest` at most."""
        count = self._failures[thing] = self._failures.get(thing, 0) + 1
        pause = min(FIRST * 2.0 ** min(count - 1, 16), longest or LONGEST)
        self._until[thing] = now + pause
        return pause

    def went_well(self, thing: str) -> None:
        """Forget the failures of `thing`."""
        self._failures.pop(thing, None)
        self._until.pop(thing, None)
