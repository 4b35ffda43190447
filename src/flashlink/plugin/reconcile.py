"""The one thread that makes what is wanted true: it alone talks with the batch system, about many pods at a time.

A round of it looks for jobs whose ids are not known, submits what waits, asks for the state of all jobs by one
question, reads the journals that have grown, and ends what was deleted. What fails for now is tried again, later and
later; nothing that goes wrong with one pod, or with the batch system, ends the thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog

from flashlink.batch import Capacity, JobSpec, JobState, JobStatus
from flashlink.errors import FlashlinkError, SiteError
from flashlink.plugin import submission
from flashlink.plugin.backoff import Backoff
from flashlink.plugin.patience import PatientBatch
from flashlink.plugin.pods import LOOKING, Changes, Pods
from flashlink.plugin.record import Record
from flashlink.plugin.removal import Removal, remove_folder
from flashlink.plugin.reports import Reports
from flashlink.plugin.watch import Watch
from flashlink.pods.status import not_started

#: Most jobs in one submission, so that the first answers do not wait for a thousand scripts.
BULK = 200

#: Seconds for which deletes are remembered, and between two looks at the site's totals.
REMEMBER, RECOUNT = 86400.0, 60.0

#: Seconds between two looks at the journals alone, where sweeps are rarer or the batch system is slow.
LOOK = 2.0

#: A sweep is followed by a pause of so many times the processor's time that it took, if that is longer than the
#: interval: requests are answered by the same interpreter.
REST = 10.0

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
        self._watch = Watch(pods, batch)
        self._removal = Removal(pods, batch, self._forget)
        self._wake = threading.Event()
        self._stopped = False
        self._next_sweep = 0.0
        self._next_look = 0.0
        self._next_count = 0.0
        self._explained = ""
        self._thread = threading.Thread(target=self._run, name="reconcile")
        #: Set when the batch system has been asked about everything once.
        self.first_round = threading.Event()
        #: Totals of the site as last told; None until the batch system has answered once.
        self.capacity: Capacity | None = None
        pods.wake = self._wake.set
        batch.meanwhile = self._meanwhile

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, whatever it waits for; jobs go on."""
        self._stopped = True
        self._wake.set()
        self._batch.close()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait(max(0.0, min(self._next_sweep, self._next_look) - time.monotonic()))
            self._wake.clear()
            try:
                self.round()
                self.first_round.set()
            except Exception:
                # A defect, or a disk that is full: nothing is lost, as all is in the books and the next round sees it.
                log.exception("round failed")
                self._next_sweep = self._next_look = time.monotonic() + max(self._interval, 1.0)

    def round(self) -> None:
        """Do what is due now."""
        now = time.monotonic()
        self._seek()
        self._submit()
        self._explain()
        if now >= self._next_sweep:
            began = time.thread_time()
            self._watch.sweep()
            self._count(now)
            self._next_sweep = now + max(self._interval, (time.thread_time() - began) * REST)
            self._next_look = now + LOOK
        self._look()
        self._removal.end_deleted()

    def _meanwhile(self) -> None:
        """See to other things while the batch system lets a question wait."""
        self._look()
        self._explain()

    def _explain(self) -> None:
        """Tell each pod that waits for its job what the batch system fails with, and take it back when it answers."""
        why, before = self._batch.trouble or self._batch.silence, self._explained
        if not why and not before:
            return
        changes: Changes = {
            record.uid: {"problem": told}
            for record in self._pods.without_job()
            if (told := _explained(record.problem, before, why)) != record.problem
        }
        with suppress(SiteError):  # a full disk, say: the next one who is told finds them again
            if changes:
                self._pods.change(changes)
            self._explained = why

    def _look(self) -> None:
        """Look at the journals alone: between two sweeps, and while the batch system lets a question wait."""
        now = time.monotonic()
        if now < self._next_look or self._stopped:
            return
        began = time.thread_time()
        with suppress(SiteError):  # a full disk, say: the next look sees it again
            self._watch.look()
        self._next_look = now + max(LOOK, (time.thread_time() - began) * REST)

    def _seek(self) -> None:
        """Look for jobs that may exist though their ids are not known: no pod is submitted twice."""
        unsure = {record.uid: record for record in self._pods.without_job() if record.tried}
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
            for record in self._pods.without_job()
            if not record.tried and record.deleted is None and self._again.ready(record.uid, now)
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
                    submitted[former.uid] = self._watch.again_or_never(
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

    def _forget(self, uid: str) -> None:
        self._watch.forget(uid)
        self._again.went_well(uid)

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
        remove_folder(self._pods.folder(record.uid))
        self._pods.answer(record.uid, error)

    def _count(self, now: float) -> None:
        if now < self._next_count:
            return
        with suppress(SiteError):
            self.capacity = self._batch.capacity()
            self._next_count = now + RECOUNT
            self._pods.forget_tombstones(time.time() - REMEMBER)


def _explained(problem: str, before: str, why: str) -> str:
    """A pod's problem when the batch system fails with `why`, as before it did with `before`; "" where it answers."""
    if problem.startswith(LOOKING):
        return f"{LOOKING}: {why}" if why else LOOKING
    return why if problem in ("", before) else problem


def _failure(record: Record, message: str) -> dict[str, Any]:
    """The fields of a record whose pod failed before it had a job."""
    names = (*record.pod.init_containers, *record.pod.containers)
    now = time.time()
    states = {name: not_started(message, 1, now) for name in names if name not in record.pod.not_offloaded}
    return {"tried": False, "problem": message, "states": states, "ended_at": now, "final": True}
