"""Records: what a step did and what it cost, as one JSON file a step. The report's table of steps is made of them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from flashlink import __version__
from flashlink.errors import RequestError
from flashlink.flashsim.files import replacing


@dataclass(kw_only=True)
class Record:
    """What one step did; a step fills in the counts while it runs, `recording` the rest.

    Attributes:
        step: Name of the sub-command, such as ``generate``.
        events: Events that were worked on.
        particles: Generated particles that were made or read.
        tracks: Tracks that were made or read.
        seed: Seed of the step; None for one without random numbers.
        numbers: Whatever else the report may show, by name.
        wall_seconds: Elapsed time, reading and writing included.
        cpu_seconds: Processor time of this process.
        started: When, in UTC, as ISO 8601.
        host: Name of the machine.
        site: The site that the pod was sent to (``FLASHLINK_SITE``); empty outside a pod.
        pod: Name of the pod (``FLASHLINK_POD_NAME``); empty outside a pod.
        version: Of flashlink.
    """

    step: str
    events: int = 0
    particles: int = 0
    tracks: int = 0
    seed: int | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    started: str = ""
    host: str = ""
    site: str = ""
    pod: str = ""
    version: str = __version__


@contextmanager
def recording(step: str, path: Path | None, seed: int | None = None) -> Iterator[Record]:
    """Time a step and write its record when it ended well.

    Args:
        step: Name of the sub-command.
        path: Where to write the record, as JSON; None to write none.
        seed: Seed of the step.
    """
    started, wall, cpu = datetime.now(UTC), time.perf_counter(), time.process_time()
    record = Record(step=step, seed=seed)
    yield record
    record.wall_seconds = round(time.perf_counter() - wall, 3)
    record.cpu_seconds = round(time.process_time() - cpu, 3)
    record.started = started.isoformat(timespec="seconds")
    record.host = platform.node()
    record.site = os.environ.get("FLASHLINK_SITE", "")
    record.pod = os.environ.get("FLASHLINK_POD_NAME", "")
    if path is not None:
        with replacing(path) as temporary:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")


def read_record(path: Path) -> Record:
    """Read what `recording` wrote.

    Raises:
        RequestError: The file cannot be read or is not a record.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise RequestError(f"{path}: not the record of a step: {error}") from error
