"""Slurm as a `flashlink.batch.BatchSystem`: by its own commands, or by slurmrestd.

One question a sweep tells all jobs of the user, whatever their number. What has left it is looked up in the
accounting and in the record that each job leaves in its folder; so sites without accounting lose nothing either. A job
that nobody knows any more is called lost only after a while, as accounting and file systems lag behind.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from flashlink.batch.slurm import examination
from flashlink.batch.slurm.again import Again
from flashlink.batch.slurm.answers import Row
from flashlink.batch.slurm.books import Books, Job, hold
from flashlink.batch.slurm.connection import Connection
from flashlink.batch.slurm.ending import Ending
from flashlink.batch.slurm.history import History, Past
from flashlink.batch.slurm.options import read
from flashlink.batch.slurm.output import Output
from flashlink.batch.slurm.refusals import UnsureError
from flashlink.batch.slurm.rest import Rest
from flashlink.batch.slurm.scheduler import CommandLine, Scheduler
from flashlink.batch.slurm.spool import Spool
from flashlink.batch.system import Capacity, JobSpec, JobState, JobStatus
from flashlink.errors import SiteError
from flashlink.finding import Finding

#: Jobs that one shell submits. It ends when it can tell nobody, so after a kill at most a few are on their way.
BULK = 20

#: Seconds after which a job that was known and is known to nobody any more is lost.
PATIENCE = 120.0

#: Seconds for which a submission may still arrive whose answer was lost.
ARRIVES = 60.0

#: Longest that a controller takes to save a job: one that was started again that soon after a submission may have
#: forgotten it. And seconds for which a job is missed before that is believed.
SAVES, MISSED = 60.0, 3.0

_FINAL = (JobState.ENDED, JobState.LOST)

#: A job as the plugin sees it, and as the site does: another folder, where they share no file system.
_Due = tuple[JobSpec, JobSpec, Any]


class SlurmBatch:
    """Implements `flashlink.batch.BatchSystem` on Slurm.

    Args:
        state: Folder for what it must remember, for this object alone; made if missing.
        cpus: Told as the site's cores; 0 asks Slurm.
        memory: Told as the site's memory in bytes; 0 asks Slurm.
        pods: Most jobs at once.
        options: See `flashlink.batch.slurm.options.Options`.

    Raises:
        SiteError: Another process uses `state`, or an option is wrong.
    """

    name = "slurm"

    def __init__(self, state: Path, *, cpus: int, memory: int, pods: int, options: Mapping[str, object]) -> None:
        self._options = read(options)
        rest = Rest(self._options) if self._options.rest else None
        self._told = Capacity(cpus, memory, jobs=pods)
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
        self._lock = hold(state / "lock")
        self._books = Books(state / "slurm.sqlite")
        self._connection = Connection(self._options, self._lock, state)
        self._scheduler: Scheduler = rest or CommandLine(self._connection, self._options)
        self._again = Again(self._scheduler)
        self._ending = Ending(self._scheduler, self._connection, self._books)
        self._history = History(self._scheduler, self._connection, self._books, self._options)
        self._spool = Spool(self._connection, self._options) if self._options.spool else None
        self._output = Output(self._spool, self._books, self._options.history_days) if self._spool else None
        self._cluster = ""
        self._last: dict[int, JobStatus] = {}  # as last told, of jobs that go on
        self._final: dict[int, JobStatus] = {}
        self._missing: dict[int, float] = {}  # number to when it was first known to nobody
        self._forgotten: set[int] = set()  # jobs that are to be submitted again
        self._unsure: dict[str, float] = {}  # uid to when a submission failed that may arrive

    def submit(self, jobs: Sequence[JobSpec]) -> list[str | SiteError]:
        """Submit jobs; see `BatchSystem.submit`."""
        outcomes: dict[str, str | SiteError] = {}
        new: dict[str, _Due] = {}
        for spec in jobs:
            try:
                at_site = self._spool.at_site(spec) if self._spool else spec
                new[spec.uid] = (spec, at_site, self._scheduler.describe(at_site))
            except SiteError as error:
                outcomes[spec.uid] = error
        outcomes.update(self._known(new))
        for uid in new.keys() - outcomes.keys():
            if self._may_arrive(uid):
                outcomes[uid] = SiteError("Slurm may have it already, its answer was lost: waiting", transient=True)
        due = [each for uid, each in new.items() if uid not in outcomes]
        for start in range(0, len(due), BULK):
            outcomes.update(self._submit_bulk(due[start : start + BULK]))
        return [outcomes[spec.uid] for spec in jobs]

    def _submit_bulk(self, bulk: Sequence[_Due]) -> dict[str, str | SiteError]:
        if self._spool:
            self._spool.send([spec for spec, _, _ in bulk])
        now = time.monotonic()
        self._unsure.update((spec.uid, now) for spec, _, _ in bulk)
        told = self._scheduler.submit([described for _, _, described in bulk])
        outcomes: dict[str, str | SiteError] = {}
        taken, refused = [], []
        for (spec, at_site, _), outcome in zip(bulk, told, strict=True):
            if isinstance(outcome, int):
                home = "" if at_site is spec else str(spec.folder)
                taken.append(Job(outcome, spec.uid, str(at_site.folder), spec.grace, home))
                outcomes[spec.uid] = self._job_id(outcome)
            else:
                outcomes[spec.uid] = outcome
                if isinstance(outcome, UnsureError):
                    continue
                refused.append(spec.uid)
            del self._unsure[spec.uid]
        for job in taken:  # the number may have been that of a job which Slurm has forgotten
            self._forgotten.discard(job.number)
            self._missing.pop(job.number, None)
            self._final.pop(job.number, None)
        self._books.add(taken)
        self._last.update((job.number, JobStatus(JobState.QUEUED)) for job in taken)
        if self._spool and refused:
            with suppress(SiteError):  # then they go as old ones, or are sent again
                self._spool.remove(refused)
        return outcomes

    def query(self, job_ids: Sequence[str]) -> dict[str, JobStatus]:
        """State of these jobs; see `BatchSystem.query`."""
        self._learn_cluster()
        numbers = {job_id: self._number(job_id) for job_id in job_ids}
        asked = {number for number in numbers.values() if number is not None}
        found = {number: self._final[number] for number in asked & self._final.keys()}
        if asked - found.keys():
            found.update(self._look(asked - found.keys()))
        unknown = JobStatus(JobState.LOST, reason="this is no job of this site's Slurm")
        return {job_id: unknown if number is None else found[number] for job_id, number in numbers.items()}

    def _look(self, numbers: set[int]) -> dict[int, JobStatus]:
        """What the queue tells, and for jobs that have left it what is known of their ends."""
        listed = self._by_number(self._scheduler.queue())
        self._ending.end_overdue(listed)
        found = {number: listed[number].status for number in numbers & listed.keys()}
        found = self._again.explained(found, self._last)
        gone = sorted(numbers - listed.keys())
        if gone:
            past = self._history.look(gone)
            found.update((number, past.ended.get(number) or self._unclear(number, past)) for number in gone)
            found.update(self._forgot({number: past.unclaimed[number] for number in gone if number in past.unclaimed}))
        if self._output:
            found = self._output.told(found)
            self._output.tidy({row.uid for row in listed.values()})
        for number in numbers:
            if number in listed or found[number].state in _FINAL:
                self._missing.pop(number, None)
            found[number] = self._remember(number, found[number])
        return found

    def _by_number(self, rows: Iterable[Row]) -> dict[int, Row]:
        """Rows by job number. Of several jobs of one pod the first counts for all, as it alone runs the pod."""
        first: dict[str, Row] = {}
        found: dict[int, Row] = {}
        for row in sorted(rows, key=lambda row: row.number):
            job = self._books.job(row.number)
            if job is None or job.uid == row.uid:  # else Slurm has begun to count anew, and this is another's
                found[row.number] = first.setdefault(row.uid, row) if row.uid else row
        for uid, row in first.items():
            job = self._books.of(uid)
            if job is not None:
                found[job.number] = row
        return found

    def _forgot(self, unclaimed: Mapping[int, float]) -> dict[int, JobStatus]:
        """Those of the missing jobs that a controller which was killed has forgotten (docs/decisions/011).

        Args:
            unclaimed: Number to the time of its submission, of jobs for whose pods none has begun.
        """
        now = time.monotonic()
        missed = [number for number in unclaimed if now - self._missing.get(number, now) >= MISSED]
        if not missed:
            return {}
        booted = self._scheduler.booted() or 0.0
        forgotten = [number for number in missed if 0 <= booted + 1 - unclaimed[number] < SAVES]
        self._forgotten.update(forgotten)
        status = JobStatus(JobState.FORGOTTEN, reason="Slurm's controller was started anew and has forgotten it")
        return dict.fromkeys(forgotten, status)

    def _unclear(self, number: int, past: Past) -> JobStatus:
        """A job that has left the queue and whose end nobody tells: for a while as it was last seen."""
        now = time.monotonic()
        waited = now - self._missing.setdefault(number, now)
        known = number in past.known or number in self._last or self._books.job(number) is not None
        if past.trouble or (known and waited < PATIENCE):
            before = self._last.get(number, JobStatus(JobState.RUNNING))
            return replace(before, reason=past.trouble or "it has left Slurm's queue; its end is not known yet")
        return JobStatus(JobState.LOST, reason="Slurm does not know it, and it has left no record of its end")

    def _remember(self, number: int, status: JobStatus) -> JobStatus:
        if status.state is JobState.FORGOTTEN:
            return status
        if status.state not in _FINAL:
            self._last[number] = status
            return status
        if status.state is JobState.ENDED and self._ending.was_told(number):
            status = replace(status, reason="cancelled")
        self._final[number] = status
        self._last.pop(number, None)
        self._again.forget(number)
        self._ending.forget([number])
        return status

    def find(self, uids: Sequence[str]) -> dict[str, str]:
        """Job ids by uid; see `BatchSystem.find`."""
        found = self._known(uids)
        missing = set(uids) - found.keys()
        if any(map(self._may_arrive, missing)):
            raise SiteError("Slurm may be about to take in a job whose submission it did not answer", transient=True)
        if missing:
            jobs = self._settled(self._history.find(missing), missing)
            self._books.add(jobs.values())
            found.update((uid, self._job_id(job.number)) for uid, job in jobs.items())
        return found

    def _known(self, uids: Iterable[str]) -> dict[str, str]:
        """Job ids of those pods that the books or the queue know."""
        self._learn_cluster()
        wanted = set(uids)
        noted = {uid: self._books.of(uid) for uid in wanted}
        found = {uid: job for uid, job in noted.items() if job is not None and job.number not in self._forgotten}
        if wanted - found.keys():
            jobs = self._in_queue(wanted - found.keys())
            self._books.add(jobs.values())
            found.update(jobs)
        for uid in found:
            self._unsure.pop(uid, None)
        return {uid: self._job_id(job.number) for uid, job in found.items()}

    def _in_queue(self, uids: set[str]) -> dict[str, Job]:
        rows = sorted((row for row in self._scheduler.queue() if row.uid in uids), key=lambda row: -row.number)
        folders = self._scheduler.places() if rows else {}
        jobs = {row.uid: Job(row.number, row.uid, folders.get(row.number, "")) for row in rows}
        return self._settled(jobs, jobs)

    def _settled(self, jobs: Mapping[str, Job], uids: Iterable[str]) -> dict[str, Job]:
        """Jobs by uid, and where their folders are; with those of which only the folders tell."""
        if not self._spool:
            return dict(jobs)
        found = dict(jobs)
        for uid, place in self._spool.look(uids).items():
            number = found[uid].number if uid in found else place.number
            if number is not None:
                found[uid] = Job(number, uid, self._spool.folder(uid), home=place.home)
        return found

    def _may_arrive(self, uid: str) -> bool:
        return time.monotonic() - self._unsure.get(uid, -ARRIVES) < ARRIVES

    def cancel(self, job_ids: Sequence[str], grace: int | None = None) -> None:
        """End jobs; see `BatchSystem.cancel`."""
        self._learn_cluster()
        numbers = {number for job_id in job_ids if (number := self._number(job_id)) is not None}
        if numbers - self._final.keys():
            self._ending.begin(numbers - self._final.keys(), grace)

    def forget(self, job_ids: Sequence[str]) -> None:
        """Drop the records and folders of ended jobs; see `BatchSystem.forget`."""
        self._learn_cluster()
        numbers = {number for job_id in job_ids if (number := self._number(job_id)) is not None}
        if numbers - self._final.keys():  # as after a start of the plugin
            numbers -= {row.number for row in self._scheduler.queue() if row.status.state not in _FINAL}
        if self._spool:
            self._spool.remove([job.uid for number in numbers if (job := self._books.job(number)) is not None])
        self._books.remove(numbers)
        for number in numbers:
            self._final.pop(number, None)

    def examine(self, probe: JobSpec) -> Iterator[Finding]:
        """Look at what the site consists of; see `Examinable.examine`."""
        for found in self._scheduler.examine(probe):
            yield found
            if found.subject in examination.VITAL and found.status == "problem":
                return
        if self._options.spool:
            (told,) = self._connection.run(examination.space(self._options.spool, self._options.command_seconds))
            yield examination.space_found(told, self._options.spool)
        try:
            self._scheduler.accounted_since(1)
        except SiteError as error:
            yield Finding(
                "warning", "accounting", f"{error}; ends of jobs come from their own records until it answers"
            )

    def kinds(self, probe: JobSpec) -> Mapping[str, JobSpec]:
        """The flavours; see `Examinable.kinds`."""
        return examination.least(probe, self._options)

    def capacity(self) -> Capacity:
        """Totals of the site; see `BatchSystem.capacity`."""
        found = self._scheduler.capacity(self._told.jobs)
        return replace(found, cpus=self._told.cpus or found.cpus, memory=self._told.memory or found.memory)

    def close(self) -> None:
        """Let go of the connection and the state; jobs go on."""
        self._scheduler.close()
        self._connection.close()
        self._books.close()
        os.close(self._lock)

    def _learn_cluster(self) -> None:
        """Ask for the cluster's name, once; what was noted of another cluster is forgotten."""
        if not self._cluster:
            self._cluster = self._scheduler.cluster()
            self._books.belong_to(self._cluster)

    def _job_id(self, number: int) -> str:
        return f"{self.name}:{self._cluster}:{number}"

    def _number(self, job_id: str) -> int | None:
        """The number in a job id of this cluster."""
        prefix, _, number = job_id.rpartition(":")
        ours = prefix == f"{self.name}:{self._cluster}" and number.isascii() and number.isdecimal()
        return int(number) if ours and len(number) <= 18 else None
