"""The batch system inside flashlink: jobs are processes of this machine, queued until cores and memory are free.

Each job has a `flashlink.batch.starter` of its own in a session of its own, so jobs go on when the plugin dies, and a
new plugin on the same state finds them again. The queue is on disk. One thread starts jobs and notices their ends; it
and the callers share one lock. Jobs start in the order of submission; one that does not fit lets smaller ones pass.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flashlink.batch import starter
from flashlink.batch.queue import Job, Queue
from flashlink.batch.starter import Exit, Identity
from flashlink.batch.system import Capacity, JobSpec, JobState, JobStatus
from flashlink.errors import SiteError

#: How soon the end of a job is noticed.
_LOOK_SECONDS = 0.1
_FINAL = (JobState.ENDED, JobState.LOST)


@dataclass(frozen=True, slots=True)
class _Need:
    cpus: float
    memory: int
    gpus: int
    jobs: int = 1

    def plus(self, other: _Need) -> _Need:
        return _Need(self.cpus + other.cpus, self.memory + other.memory, self.gpus + other.gpus, self.jobs + other.jobs)

    def within(self, total: Capacity) -> bool:
        fits_cores = self.cpus <= total.cpus + 1e-6
        return fits_cores and self.memory <= total.memory and self.gpus <= total.gpus and self.jobs <= total.jobs


class LocalBatch:
    """Implements `flashlink.batch.BatchSystem` on this machine.

    Args:
        state: Folder for the queue and the records of jobs, for this object alone; made if missing.
        cpus: Cores to fill; 0 means all that this process may use.
        memory: Bytes to fill; 0 means all of the machine's.
        pods: Most jobs at once.
        options: ``gpus``: devices to hand out, 0 by default.

    Raises:
        SiteError: Another process uses `state`, or an option is not one.
    """

    name = "local"

    def __init__(self, state: Path, *, cpus: int, memory: int, pods: int, options: Mapping[str, object]) -> None:
        self._total = Capacity(
            cpus=cpus or len(os.sched_getaffinity(0)),
            memory=memory or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            gpus=_gpus(options),
            jobs=pods,
        )
        self._records = state / "jobs"
        self._records.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
        self._lock_file = _lock(state / "lock")
        self._queue = Queue(state / "queue.sqlite")
        self._host = platform.node()
        self._jobs = {self._job_id(job): job for job in self._queue}
        self._uids = {job.spec.uid: job for job in self._jobs.values()}
        self._waiting = {job.number: job for job in self._jobs.values() if job.status.state is JobState.QUEUED}
        self._running = {job.number: job for job in self._jobs.values() if job.status.state is JobState.RUNNING}
        self._full = False  # nothing of what waits can start until something ends, comes or is cancelled
        self._spawned: dict[int, int] = {}  # job number to the process id of the starter that we spawned
        self._told: set[int] = set()  # numbers of the jobs whose starter was told to end
        self._change = threading.Condition()
        self._closed = False
        self._trouble = ""
        self._thread = threading.Thread(target=self._work, name="flashlink-local-batch", daemon=True)
        self._thread.start()

    def submit(self, jobs: Sequence[JobSpec]) -> list[str | SiteError]:
        """Queue jobs; see `BatchSystem.submit`."""
        with self._change:
            new = {spec.uid: spec for spec in jobs if spec.uid not in self._uids}
            refusals = {uid: refusal for uid, spec in new.items() if (refusal := self._refusal(spec)) is not None}
            for job in self._queue.add(spec for uid, spec in new.items() if uid not in refusals):
                self._jobs[self._job_id(job)] = self._uids[job.spec.uid] = self._waiting[job.number] = job
            self._wake()
            return [refusals.get(spec.uid) or self._job_id(self._uids[spec.uid]) for spec in jobs]

    def query(self, job_ids: Sequence[str]) -> dict[str, JobStatus]:
        """State of these jobs; see `BatchSystem.query`."""
        unknown = JobStatus(JobState.LOST, reason="the local batch system does not know this job")
        with self._change:
            found = {job_id: self._jobs.get(job_id) for job_id in job_ids}
            return {job_id: job.status if job else unknown for job_id, job in found.items()}

    def find(self, uids: Sequence[str]) -> dict[str, str]:
        """Job ids by uid; see `BatchSystem.find`."""
        with self._change:
            return {uid: self._job_id(self._uids[uid]) for uid in uids if uid in self._uids}

    def cancel(self, job_ids: Sequence[str], grace: int | None = None) -> None:
        """End jobs; see `BatchSystem.cancel`."""
        with self._change:
            for job in map(self._jobs.get, job_ids):
                if job is not None and job.status.state not in _FINAL:
                    self._give(job, grace)
                    self._queue.cancel(job)
            self._wake()

    def _give(self, job: Job, grace: int | None) -> None:
        if grace is None or job.status.state is JobState.QUEUED:
            return
        try:
            starter.write(self._record(job) / "cancel.json", {"grace": grace})
        except OSError as error:
            raise SiteError(f"the local batch system cannot write its records: {error}", transient=True) from error

    def forget(self, job_ids: Sequence[str]) -> None:
        """Drop the records of ended jobs; see `BatchSystem.forget`."""
        with self._change:
            ended = [job for job in map(self._jobs.get, job_ids) if job is not None and job.status.state in _FINAL]
            self._queue.remove(ended)
            for job in ended:
                del self._jobs[self._job_id(job)], self._uids[job.spec.uid]
                shutil.rmtree(self._record(job), ignore_errors=True)

    def capacity(self) -> Capacity:
        """What this system may fill; see `BatchSystem.capacity`."""
        if self._trouble:
            raise SiteError(f"the local batch system cannot go on: {self._trouble}", transient=True)
        return self._total

    def close(self) -> None:
        """Stop starting jobs and release the state; running jobs go on."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join()
        self._queue.close()
        os.close(self._lock_file)

    def _refusal(self, spec: JobSpec) -> SiteError | None:
        if spec.options:
            return SiteError(f"the local batch system has no option {next(iter(spec.options))!r}; leave it out")
        if _need(spec).within(self._total):
            return None
        total = self._total
        return SiteError(
            f"{spec.name} asks for {spec.cpus:g} cores, {_gib(spec.memory)} of memory and {spec.gpus} GPUs; "
            f"this site has {total.cpus} cores, {_gib(total.memory)} and {total.gpus} GPUs: ask for less"
        )

    def _job_id(self, job: Job) -> str:
        return f"{self.name}:{self._host}:{job.number}"

    def _record(self, job: Job) -> Path:
        return self._records / str(job.number)

    def _work(self) -> None:
        with self._change:
            while not self._closed:
                try:
                    self._round()
                    self._trouble = ""
                except (
                    OSError,
                    sqlite3.Error,
                ) as error:  # a full disk, say: `capacity` tells, the next round tries again
                    self._trouble = str(error)
                self._change.wait(_LOOK_SECONDS if self._spawned or self._running or self._trouble else None)

    def _wake(self) -> None:
        self._full = False
        self._change.notify()

    def _update(self, job: Job, **changes: object) -> None:
        """Change a job's status, in the queue and in what waits and what runs."""
        self._queue.update(job, **changes)
        for state, jobs in ((JobState.QUEUED, self._waiting), (JobState.RUNNING, self._running)):
            if job.status.state is state:
                jobs[job.number] = job
            else:
                jobs.pop(job.number, None)
        if job.status.state in _FINAL:
            self._full = False

    def _round(self) -> None:
        gone = self._reap()
        for job in list(self._running.values()):
            # Of our own child the kernel tells the end; what it writes is read at its start, its cancel and its end.
            if job.number not in self._spawned or job.status.started is None or job.cancelled:
                self._look_at(job, gone=job.number in gone)
        if self._full:
            return
        load = _sum(self._running.values())
        for job in list(self._waiting.values()):
            if job.cancelled:
                self._update(job, state=JobState.ENDED, exit_code=143, reason="cancelled before it started")
            elif (more := load.plus(_need(job.spec))).within(self._total):
                self._start(job)
                load = more
        self._full = True

    def _reap(self) -> set[int]:
        """Numbers of the jobs whose starter, spawned by us, has ended."""
        gone = {number for number, pid in self._spawned.items() if _ended(pid)}
        for number in gone:
            del self._spawned[number]
        return gone

    def _start(self, job: Job) -> None:
        """Intent first: from here on the job counts as running, and only one starter can ever claim its record."""
        record = self._record(job)
        record.mkdir(mode=0o700, exist_ok=True)
        spec = job.spec
        places = {"script": str(spec.script), "folder": str(spec.folder)}
        starter.write(record / "job.json", {"uid": spec.uid, **places, "walltime": spec.walltime, "grace": spec.grace})
        self._update(job, state=JobState.RUNNING, reason="", node=self._host)
        self._spawn(job)

    def _spawn(self, job: Job) -> None:
        log = str(job.spec.folder / "job.log")
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        environment = {name: value for name, value in os.environ.items() if name != "FLASHLINK_POD"}
        try:
            self._spawned[job.number] = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", starter.__file__, str(self._record(job))],
                environment,
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD],
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, log, append, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
            )
        except OSError as error:
            self._update(job, state=JobState.LOST, reason=f"it could not be started: {error}")

    def _look_at(self, job: Job, *, gone: bool) -> None:
        """See how a running job does: by its record on disk, as it may be older than this process."""
        run = _read(self._record(job) / "run.json")
        if run is None:
            if gone:
                self._update(job, state=JobState.LOST, reason="its starter failed; job.log says why")
            elif job.number not in self._spawned:  # a plugin died between the intent and the spawn, or the claim
                self._spawn(job)
            return
        identity = Identity(run["pid"], run["start"], run["boot"])
        if job.status.started is None:
            self._update(job, started=run["started"])
        alive = identity.alive()  # before the look for its last word, which it writes while it is alive
        if self._take_exit(job):
            return
        if not alive:
            self._lose(job, identity)
        elif job.cancelled and job.number not in self._told:
            self._told.add(job.number)
            with suppress(ProcessLookupError):
                os.kill(identity.pid, signal.SIGTERM)

    def _take_exit(self, job: Job) -> bool:
        content = _read(self._record(job) / "exit.json")
        if content is None:
            return False
        ended = Exit(**content)
        self._update(job, state=JobState.ENDED, exit_code=ended.code, ended=ended.ended, reason=_words(ended, job.spec))
        return True

    def _lose(self, job: Job, identity: Identity) -> None:
        if identity.boot != starter.boot_id():
            reason = "the machine was restarted while it ran"
        else:
            reason = "the process that supervised it was killed"
            starter.kill_remains(job.spec.uid)
        self._update(job, state=JobState.LOST, reason=reason)


def _need(spec: JobSpec) -> _Need:
    return _Need(spec.cpus, spec.memory, spec.gpus)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _words(ended: Exit, spec: JobSpec) -> str:
    if ended.cause == "walltime":
        return f"ended at its wall time of {spec.walltime} s"
    if ended.cause == "cancelled":
        return "cancelled"
    return f"its script was killed by {signal.Signals(ended.signal).name}" if ended.signal else ""


def _sum(jobs: Iterable[Job]) -> _Need:
    load = _Need(0, 0, 0, 0)
    for job in jobs:
        load = load.plus(_need(job.spec))
    return load


def _ended(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] != 0
    except ChildProcessError:  # somebody else has reaped it
        return True


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    return content


def _gpus(options: Mapping[str, object]) -> int:
    unknown = sorted(set(options) - {"gpus"})
    if unknown:
        raise SiteError(f"batch.options.{unknown[0]}: the local batch system knows only gpus; remove it")
    gpus = options.get("gpus", 0)
    if not isinstance(gpus, int) or gpus < 0:
        raise SiteError(f"batch.options.gpus: {gpus!r} is not a number of devices; give 0 or more")
    return gpus


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise SiteError(
            f"{path.parent}: another flashlink process uses this state; stop it, or give a folder of its own"
        ) from None
    return handle
