"""The one thread that makes what is wanted true: it alone talks with the batch system, about many pods at a time.

A round of it looks for jobs whose ids are not known, submits what waits, asks for the state of all jobs by one
question, reads the journals that have grown, and ends what was deleted. What fails for now is tried again, later and
later; nothing that goes wrong with one pod, or with the batch system, ends the thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog

from flashlink.batch import Capacity, JobSpec, JobState, JobStatus
from flashlink.errors import FlashlinkError, RequestError, SiteError
from flashlink.jobscript.journal import Event
from flashlink.plugin import folders, submission
from flashlink.plugin.backoff import Backoff
from flashlink.plugin.journals import Journals
from flashlink.plugin.patience import PatientBatch
from flashlink.plugin.pods import Pods
from flashlink.plugin.record import Record
from flashlink.plugin.reports import Reports
from flashlink.plugin.states import container_states
from flashlink.pods.status import ContainerState, is_final, not_started

#: Most jobs in one submission, so that the first answers do not wait for a thousand scripts.
BULK = 200

#: Seconds that a journal may need to arrive after the batch system has called its job ended.
SETTLE = 2.0

#: Seconds after which a job that still runs is cancelled again.
CANCEL_AGAIN = 60.0

#: Seconds for which deletes are remembered, and between two looks at the site's totals.
REMEMBER, RECOUNT = 86400.0, 60.0

#: Journals of jobs in the queue that a sweep looks for. Mostly there are none: of more jobs, each has its turn,
#: in case that the batch system is late to tell of a start.
IN_TURN = 200

#: A sweep is followed by a pause of so many times the processor's time that it took, if that is longer than the
#: interval: requests are answered by the same interpreter.
REST = 10.0

FINAL = (JobState.ENDED, JobState.LOST)

Changes = dict[str, dict[str, Any]]

log = structlog.get_logger("flashlink.plugin")


class Reconciler:
    """Keeps pods and batch system in step.

    Args:
        pods: What is wanted, and where to write what is seen.
        batch: The batch system; only this thread calls it once `start` was called.
        interval: Seconds between two rounds.
        reports: Takes what jobs report, where they do.
    """

    def __init__(
        self,
        pods: Pods,
        batch: PatientBatch,
        interval: float,
        reports: Reports | None = None,
    ) -> None:
        self._pods = pods
        self._batch = batch
        self._interval = interval
        self._reports = reports
        self._again = Backoff()
        self._cancelled: dict[str, float] = {}
        self._journals = Journals()
        self._looked: dict[str, tuple[Record, JobStatus | None, list[Event]]] = {}
        self._wake = threading.Event()
        self._stopped = False
        self._sweeps = 0
        self._next_sweep = 0.0
        self._next_count = 0.0
        self._thread = threading.Thread(target=self._run, name="reconcile")
        #: Set when the batch system has been asked about everything once.
        self.first_round = threading.Event()
        #: Totals of the site as last told; None until the batch system has answered once.
        self.capacity: Capacity | None = None
        pods.wake = self._wake.set

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its present call; jobs go on."""
        self._stopped = True
        self._wake.set()
        self._thread.join()
        self._batch.close()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait(max(0.0, self._next_sweep - time.monotonic()))
            self._wake.clear()
            try:
                self.round()
                self.first_round.set()
            except Exception:
                # A defect, or a disk that is full: nothing is lost, as all is in the books and the next round sees it.
                log.exception("round failed")
                self._next_sweep = time.monotonic() + max(self._interval, 1.0)

    def round(self) -> None:
        """Do what is due now."""
        now = time.monotonic()
        self._seek()
        self._submit()
        if now >= self._next_sweep:
            began = time.thread_time()
            self._sweep()
            self._count(now)
            self._next_sweep = now + max(self._interval, (time.thread_time() - began) * REST)
        self._end()

    def _seek(self) -> None:
        """Look for jobs that may exist though their ids are not known: no pod is submitted twice."""
        unsure = {record.uid: record for record in self._pods.records() if record.tried and record.has_no_job}
        if not unsure:
            return
        try:
            found = self._batch.find(list(unsure))
        except SiteError:
            return
        changes: Changes = {}
        for uid, record in unsure.items():
            job_id = found.get(uid) or record.hint
            if job_id:
                changes[uid] = {"job_id": job_id, "problem": ""}
                log.info("job found again", pod=uid, job=job_id)
            elif record.deleted is not None or self._pods.request(uid) is not None:
                changes[uid] = {"tried": False}
            else:
                changes[uid] = _failure(record, "lost: neither the plugin nor the batch system knows its job")
        self._pods.change(changes)
        for uid, fields in changes.items():
            if "job_id" in fields:
                self._pods.answer(uid, fields["job_id"])

    def _submit(self) -> None:
        """Submit all that waits, in bulk; the books know of the attempt before the batch system does."""
        if self._batch.in_peace("submit"):
            return
        now = time.monotonic()
        waiting = [
            record
            for record in self._pods.records()
            if record.has_no_job and not record.tried and record.deleted is None and self._again.ready(record.uid, now)
        ]
        for start in range(0, len(waiting), BULK):
            specs = [spec for record in waiting[start : start + BULK] if (spec := self._prepare(record)) is not None]
            if specs and not self._submit_bulk(specs):
                return

    def _prepare(self, record: Record) -> JobSpec | None:
        body = self._pods.request(record.uid)
        if body is None:
            self._refuse(record, SiteError("its create request is not in the books any more; create the pod anew"))
            return None
        try:
            return submission.prepare(body, self._pods.site, self._pods.folder(record.uid), self._reports)
        except FlashlinkError as error:
            self._refuse(record, error)
        except OSError as error:
            self._later(record.uid, f"its folder cannot be written: {error.strerror}")
        return None

    def _submit_bulk(self, specs: Sequence[JobSpec]) -> bool:
        self._pods.change({spec.uid: {"tried": True} for spec in specs})
        outcomes: Sequence[str | SiteError]
        try:
            outcomes = self._batch.submit(specs)
        except SiteError as error:
            if error.transient:
                # Some may have been taken in before it failed: they stay `tried`, so `_seek` asks before the next try.
                self._pods.change({spec.uid: {"problem": str(error)} for spec in specs})
                return False
            outcomes = [error] * len(specs)
        submitted: Changes = {}
        owners = {record.job_id: record for record in self._pods.records() if record.job_id and not record.final}
        for spec, outcome in zip(specs, outcomes, strict=True):
            if isinstance(outcome, str):
                submitted[spec.uid] = {"job_id": outcome, "job": JobStatus(JobState.QUEUED), "problem": ""}
                log.info("submitted", pod=spec.uid, job=outcome, name=spec.name)
                former = owners.get(outcome)
                if former is not None and former.uid != spec.uid:
                    submitted[former.uid] = self._again_or_never(
                        former, "the batch system gave its job's id to another"
                    )
            elif outcome.transient:
                self._later(spec.uid, str(outcome))
            else:
                self._refuse_uid(spec.uid, outcome)
        self._pods.change(submitted)
        self._next_sweep = 0.0  # what they wait for is known now
        for uid, fields in submitted.items():
            self._again.went_well(uid)
            if fields.get("job_id"):
                self._pods.answer(uid, fields["job_id"])
        return True

    def _again_or_never(self, record: Record, why: str) -> dict[str, Any]:
        """The fields of a pod whose job was lost: it is submitted again, unless it had begun and has no request now."""
        log.warning("job lost", pod=record.uid, job=record.job_id, error=why)
        if record.deleted is None and self._pods.request(record.uid) is None:
            journal = self._journals.read(record.uid, self._pods.folder(record.uid))
            lost = replace(record, job=JobStatus(JobState.LOST, reason=why), ended_at=time.time(), final=True)
            self._forget(record.uid)
            states = container_states(lost, journal, over=True)
            return {"job": lost.job, "ended_at": lost.ended_at, "states": states, "final": True}
        self._forget(record.uid)
        self._wake.set()
        fresh: dict[str, Any] = {"job_id": "", "hint": "", "job": None, "ended_at": None, "states": {}}
        return {**fresh, "tried": False, "problem": f"{why}; it is submitted again"}

    def _later(self, uid: str, problem: str) -> None:
        pause = self._again.failed(uid, time.monotonic())
        self._pods.change({uid: {"tried": False, "problem": problem}})
        log.warning("not submitted yet", pod=uid, error=problem, again_in_s=pause)

    def _refuse_uid(self, uid: str, error: FlashlinkError) -> None:
        record = self._pods.get(uid)
        if record is not None:
            self._refuse(record, error)

    def _refuse(self, record: Record, error: FlashlinkError) -> None:
        """The pod will never run: its create says so if it still waits, else its status does."""
        log.warning("refused", pod=record.uid, error=str(error))
        self._again.went_well(record.uid)
        self._pods.change({record.uid: _failure(record, str(error))})
        self._remove_folder(record.uid)
        self._pods.answer(record.uid, error)

    def _sweep(self) -> None:
        """Ask about all jobs at once, then read the journals: what a job wrote before it ended is there by then."""
        watched = {record.job_id: record for record in self._pods.records() if record.job_id and not record.final}
        if not watched:
            return
        told: Mapping[str, JobStatus] = {}
        with suppress(SiteError):  # the journals are read all the same
            told = self._batch.query(list(watched))
        now = time.time()
        changes: Changes = {}
        self._sweeps += 1
        turns = len(watched) // IN_TURN + 1
        for index, (job_id, record) in enumerate(watched.items(), self._sweeps):
            job = told.get(job_id)
            if index % turns and self._still_waits(record, job):
                continue
            fields = self._look(record, job, now)
            if fields:
                changes[record.uid] = fields
        self._pods.change(changes)

    def _still_waits(self, record: Record, job: JobStatus | None) -> bool:
        """The batch system tells of a job in its queue what it told at the last look."""
        before = self._looked.get(record.uid)
        return (
            job is not None
            and job.state is JobState.QUEUED
            and before is not None
            and before[0] is record
            and (before[1] is job or before[1] == job)
        )

    def _look(self, record: Record, job: JobStatus | None, now: float) -> dict[str, Any]:
        """What is new about one pod; mostly nothing, which is found out without much ado."""
        if job is not None and job.state is JobState.FORGOTTEN:
            return self._again_or_never(record, job.reason)
        journal = self._journals.read(record.uid, self._pods.folder(record.uid))
        before = self._looked.get(record.uid)
        self._looked[record.uid] = (record, job, journal)
        if before and before[0] is record and before[1] == job and before[2] is journal and record.ended_at is None:
            return {}
        seen: dict[str, Any] = {"job": job or record.job}
        if seen["job"] is not None and seen["job"].state in FINAL:
            seen["ended_at"] = record.ended_at or now
        else:
            seen["ended_at"] = None
        newer = replace(record, **seen)
        over = newer.ended_at is not None and now - newer.ended_at >= SETTLE
        seen["states"] = container_states(newer, journal, over=over)
        seen["final"] = newer.ended_at is not None and is_final(record.pod, seen["states"])
        if seen["final"]:
            self._forget(record.uid)
            log.info("ended", pod=record.uid, job=record.job_id, exit_codes=_exit_codes(seen["states"]))
        return {name: value for name, value in seen.items() if value != getattr(record, name)}

    def _forget(self, uid: str) -> None:
        """Let go of what was read of a pod that will not be looked at again."""
        self._journals.forget(uid)
        self._looked.pop(uid, None)

    def _count(self, now: float) -> None:
        if now < self._next_count:
            return
        with suppress(SiteError):
            self.capacity = self._batch.capacity()
            self._next_count = now + RECOUNT
            self._pods.forget_tombstones(time.time() - REMEMBER)

    def _end(self) -> None:
        """Cancel the jobs of deleted pods; of those that have ended, remove every trace."""
        deleted = [
            record
            for record in self._pods.records()
            if record.deleted is not None and not (record.tried and record.has_no_job)
        ]
        running = [record for record in deleted if self._may_run(record)]
        self._cancel(running)
        ended = [record for record in deleted if not self._may_run(record)]
        jobs = [record.job_id for record in ended if record.job_id]
        with suppress(SiteError):
            if jobs:
                self._batch.forget(jobs)
            self._bury([record for record in ended if self._remove_folder(record.uid)])

    def _bury(self, gone: Sequence[Record]) -> None:
        if not gone:
            return
        self._pods.bury(record.uid for record in gone)
        for record in gone:
            self._cancelled.pop(record.uid, None)
            self._forget(record.uid)
            self._again.went_well(record.uid)
            self._pods.answer(record.uid, RequestError(f"pod {record.label}: was deleted while it was being created"))
            log.info("deleted", pod=record.uid, job=record.job_id)

    def _may_run(self, record: Record) -> bool:
        """True if its job has not ended; one that the batch system does not know is cancelled once all the same."""
        if not record.job_id:
            return False
        lost = record.job is not None and record.job.state is JobState.LOST
        return record.ended_at is None or (lost and record.uid not in self._cancelled)

    def _cancel(self, running: Sequence[Record]) -> None:
        """Cancel jobs, and again after a while: a scheduler may have been told and have forgotten."""
        now = time.monotonic()
        due = [record for record in running if now >= self._cancelled.get(record.uid, 0.0)]
        if not due:
            return
        by_grace: dict[int | None, list[Record]] = {}
        for record in due:
            by_grace.setdefault(record.grace, []).append(record)
        with suppress(SiteError):
            for grace, records in by_grace.items():
                self._tell_grace(records)
                self._batch.cancel([record.job_id for record in records], grace)
                self._cancelled.update((record.uid, now + CANCEL_AGAIN) for record in records)

    def _tell_grace(self, records: Sequence[Record]) -> None:
        """The job script, where it shares a file system with us, ends its containers by the grace of the delete."""
        for record in records:
            folder = self._pods.folder(record.uid)
            if record.grace is not None and folder.is_dir():
                with suppress(OSError):  # a full disk, say: the pod's own grace is kept then
                    submission.write_grace(folder, record.grace)

    def _remove_folder(self, uid: str) -> bool:
        try:
            folders.remove(self._pods.folder(uid))
        except OSError as error:
            log.warning("folder not removed yet", pod=uid, error=str(error))
            return False
        return True


def _failure(record: Record, message: str) -> dict[str, Any]:
    """The fields of a record whose pod failed before it had a job."""
    names = (*record.pod.init_containers, *record.pod.containers)
    now = time.time()
    states = {name: not_started(message, 1, now) for name in names if name not in record.pod.not_offloaded}
    return {"tried": False, "problem": message, "states": states, "ended_at": now, "final": True}


def _exit_codes(states: Mapping[str, ContainerState]) -> dict[str, int]:
    return {name: state.exit_code for name, state in states.items()}
