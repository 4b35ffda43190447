"""The ledger: an append-only file of JSON lines that says what became of each pod, for whoever shows progress.

The first line of a run is a `Plan`; then comes an `Entry` for each change of a pod's state.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock

import msgspec


class Plan(msgspec.Struct, frozen=True, tag="plan"):
    """What a run is going to do.

    Attributes:
        time: Seconds since the epoch.
        jobs: Rule, or group, to its number of pods, in the order of the workflow.
    """

    time: float
    jobs: dict[str, int]


class Entry(msgspec.Struct, frozen=True, tag="pod"):
    """A pod has come into a state.

    Attributes:
        time: Seconds since the epoch.
        rule: Rule, or group.
        wildcards: Of the job; empty for a group.
        pod: Name of the pod.
        site: Name of the site.
        state: "waiting", "running", "done", "failed" or "cancelled".
        reason: One line, for a failure.
        log: Path of the whole log of a failed pod.
    """

    time: float
    rule: str
    wildcards: dict[str, str]
    pod: str
    site: str
    state: str
    reason: str = ""
    log: str = ""


class Ledger:
    """Writes a ledger; may be used from several threads.

    Args:
        path: The file; its folder is made if need be.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._lock = Lock()

    def plan(self, jobs: Mapping[str, int]) -> None:
        """Note what the run is going to do."""
        self._append(Plan(time.time(), dict(jobs)))

    def note(self, entry: Entry) -> None:
        """Note a pod's new state."""
        self._append(entry)

    def _append(self, line: Plan | Entry) -> None:
        with self._lock, self._path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")


def read(lines: bytes) -> Iterator[Plan | Entry]:
    """Read lines of a ledger; what is none is passed over, as the last line of a killed writer may be torn."""
    for line in lines.splitlines():
        try:
            yield msgspec.json.decode(line, type=Plan | Entry)
        except msgspec.MsgspecError:
            continue
