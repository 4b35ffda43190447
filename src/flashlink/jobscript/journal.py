"""Reading a pod's journal (docs/decisions/001): what a job says has happened.

A torn last line is ignored, as it is still being written. So is a line that is not of the journal's form: a full disk
leaves such lines, and one event less must not hide all the others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobStarted:
    """The script runs on `node`, as process `pid`. Times are seconds since the epoch."""

    time: float
    node: str
    pid: int


@dataclass(frozen=True, slots=True)
class Pulling:
    """The image of `container` is being fetched or prepared."""

    time: float
    container: str


@dataclass(frozen=True, slots=True)
class Started:
    """The `instance`-th instance (0 is the first) of `container` has started; not `ready` if it is to be asked."""

    time: float
    container: str
    instance: int
    ready: bool = True


@dataclass(frozen=True, slots=True)
class Ready:
    """Probes say that `container` is ready, or that it is not (any more)."""

    time: float
    container: str
    instance: int
    ready: bool = True


@dataclass(frozen=True, slots=True)
class Ended:
    """An instance has ended.

    Attributes:
        exit: 0 to 255; 128+signal for a signal.
        cause: "exited", "signal", "probe", "hook", "deadline", "cancelled", "finished", "evicted", "oom", "not-started"
            or "runtime".
        reason: Why, in words, where the job left them beside the journal; not part of its line.
        again: The container starts again, after a pause.
        message: What the container itself left to be told, where it did; not part of the line either.
    """

    time: float
    container: str
    instance: int
    exit: int
    cause: str
    reason: str = ""
    again: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """`container` does not start at all, because of `cause`: the init container `init` failed."""

    time: float
    container: str
    cause: str
    init: str


@dataclass(frozen=True, slots=True)
class JobEnded:
    """The script has cleaned up and ends with status `exit`; `pid` as of `JobStarted`, 0 in journals of before."""

    time: float
    exit: int
    pid: int = 0


Event = JobStarted | Pulling | Started | Ready | Ended | Skipped | JobEnded

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_TIME = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


def parse(content: bytes) -> list[Event]:
    """The events of a journal in the order in which they were written; never raises."""
    complete, _, _ = content.rpartition(b"\n")
    lines = complete.decode("ascii", "replace").split("\n")
    return [event for line in lines if (event := _event(line)) is not None]


def _event(line: str) -> Event | None:
    try:
        time, kind, container, *pairs = line.split("\t")
        if not _TIME.fullmatch(time):
            return None
        return _READERS[kind](float(time), container, dict(pair.split("=", 1) for pair in pairs))
    except (KeyError, ValueError):
        return None


def _job_started(time: float, _: str, keys: dict[str, str]) -> Event:
    return JobStarted(time, keys["node"], _number(keys["pid"]))


def _pulling(time: float, container: str, _: dict[str, str]) -> Event:
    return Pulling(time, _label(container))


def _started(time: float, container: str, keys: dict[str, str]) -> Event:
    return Started(time, _label(container), _number(keys["instance"]), keys.get("ready") != "no")


def _ready(time: float, container: str, keys: dict[str, str]) -> Event:
    return Ready(time, _label(container), _number(keys["instance"]))


def _unready(time: float, container: str, keys: dict[str, str]) -> Event:
    return Ready(time, _label(container), _number(keys["instance"]), ready=False)


def _ended(time: float, container: str, keys: dict[str, str]) -> Event:
    code = _number(keys["exit"], 255)
    again = keys.get("again") == "yes"
    return Ended(time, _label(container), _number(keys["instance"]), code, _label(keys["cause"]), again=again)


def _skipped(time: float, container: str, keys: dict[str, str]) -> Event:
    return Skipped(time, _label(container), _label(keys["cause"]), _label(keys["init"]))


def _job_ended(time: float, _: str, keys: dict[str, str]) -> Event:
    return JobEnded(time, _number(keys["exit"], 255), _number(keys.get("pid", "0")))


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError(text)
    return text


def _number(text: str, most: float = math.inf) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > most:
        raise ValueError(text)
    return int(text)


_READERS: dict[str, Callable[[float, str, dict[str, str]], Event]] = {
    "job-started": _job_started,
    "pulling": _pulling,
    "started": _started,
    "ready": _ready,
    "unready": _unready,
    "ended": _ended,
    "skipped": _skipped,
    "job-ended": _job_ended,
}
