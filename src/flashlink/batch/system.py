"""What a batch system is to flashlink: a handful of calls over many jobs at once.

A third party adds a system with an entry point in the group ``flashlink.batch`` that names a `BatchSystem`; the
contract suite in `flashlink.batch.testing` says whether it behaves. All calls are synchronous and come from one
thread, so an implementation needs no locks of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol, runtime_checkable

from flashlink.errors import SiteError
from flashlink.finding import Finding


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One job to submit.

    Attributes:
        uid: Unique name of the job, the pod's uid: a system must find a job again by it (`BatchSystem.find`).
        name: Short readable name for queue listings.
        script: Path of the executable bash script.
        folder: The job's private folder (0700), where worker and plugin share a file system. Elsewhere a system says
            by ``FLASHLINK_FOLDER`` which folder the job has instead, and brings its journal and logs back here.
        cpus: Cores, at least a fraction above 0.
        memory: Bytes; 0 leaves it to the system's default.
        disk: Bytes of scratch; 0 leaves it to the system's default.
        gpus: Whole devices.
        walltime: Seconds after which the system may end the job; 0 leaves it to the system's default.
        grace: Seconds between SIGTERM and SIGKILL when the job is cancelled, unless the cancel says otherwise.
        options: Further words of the system's own language, already checked against what the site allows.
    """

    uid: str
    name: str
    script: Path
    folder: Path
    cpus: float = 1.0
    memory: int = 0
    disk: int = 0
    gpus: int = 0
    walltime: int = 0
    grace: int = 30
    options: Mapping[str, str] = field(default_factory=dict)


class JobState(Enum):
    """Where a job is in its life. ENDED and LOST are final; FORGOTTEN is lost before it began, and submitted again."""

    QUEUED = "queued"
    HELD = "held"
    RUNNING = "running"
    ENDED = "ended"
    LOST = "lost"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What a batch system says about one job.

    Attributes:
        state: See `JobState`.
        exit_code: Of the script, for ENDED: 0 to 255, 128+signal for a signal; None if the system cannot say.
        reason: One line for a person: why it waits, why it was held, removed or lost; "" if there is nothing to say.
        node: Host name of the worker, once known.
        started: Seconds since the epoch, once known.
        ended: Seconds since the epoch, once known.
        restarts: Runs that are over, of a job that the system has queued again; 0 also where it cannot say.
    """

    state: JobState
    exit_code: int | None = None
    reason: str = ""
    node: str = ""
    started: float | None = None
    ended: float | None = None
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Capacity:
    """Totals of the site, not what is free: cores, bytes, GPU devices and the most jobs it takes."""

    cpus: int
    memory: int
    gpus: int = 0
    jobs: int = 1000


@runtime_checkable
class BatchSystem(Protocol):
    """A batch system. Methods raise `flashlink.errors.SiteError`; its ``transient`` says whether to try again."""

    #: Prefix of this system's job ids, as ``local:host:7``: system, scheduler, job.
    name: str

    def submit(self, jobs: Sequence[JobSpec]) -> list[str | SiteError]:
        """Submit jobs; for each, in order, its job id or the reason for its refusal. A known uid is not run again."""

    def query(self, job_ids: Sequence[str]) -> dict[str, JobStatus]:
        """State of these jobs by one question to the scheduler; a job it has never heard of, or forgot, is LOST.

        A system that can tell that such a job has not begun, and that the same pod submitted again would run once
        whatever happens, says FORGOTTEN; the next `submit` of its uid is then a new job.
        """

    def find(self, uids: Sequence[str]) -> dict[str, str]:
        """Job ids of those uids that the system knows: how a plugin finds jobs whose ids it has lost."""

    def cancel(self, job_ids: Sequence[str], grace: int | None = None) -> None:
        """End jobs: SIGTERM, the grace, SIGKILL. Returns at once; unknown or ended jobs are no error.

        Args:
            job_ids: The jobs.
            grace: Seconds; None means each job's own. A system that fixes the grace at submission keeps to that.
        """

    def forget(self, job_ids: Sequence[str]) -> None:
        """Drop what the system itself keeps about ended jobs, if anything."""

    def capacity(self) -> Capacity:
        """Totals of the site; raises `SiteError` when the scheduler does not answer."""

    def close(self) -> None:
        """Let go of connections and threads; jobs go on."""


@runtime_checkable
class Examinable(Protocol):
    """What a batch system can have besides, for ``flashlink check``."""

    def examine(self, probe: JobSpec) -> Iterator[Finding]:
        """Look at commands, credentials and places, and submit nothing.

        Args:
            probe: A small job, as one that will be sent.
        """

    def kinds(self, probe: JobSpec) -> Mapping[str, JobSpec]:
        """Of each kind of workers by name the job `probe` as it has to be to run there; nothing where all are one."""
