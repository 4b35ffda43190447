"""What the jobs do: one question about all of them, then a look at the journals that have grown."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog

from flashlink.batch import JobState, JobStatus
from flashlink.errors import SiteError
from flashlink.jobscript.journal import Event
from flashlink.plugin.journals import Journals
from flashlink.plugin.patience import PatientBatch
from flashlink.plugin.pods import Changes, Pods
from flashlink.plugin.record import Record
from flashlink.plugin.states import container_states
from flashlink.pods.status import ContainerState, is_final

#: Seconds that a journal may need to arrive after the batch system has called its job ended.
SETTLE = 2.0

#: Journals of jobs in the queue that a sweep looks for. Mostly there are none: of more jobs, each has its turn,
#: in case that the batch system is late to tell of a start.
IN_TURN = 200

FINAL = (JobState.ENDED, JobState.LOST)

log = structlog.get_logger("flashlink.plugin")


class Watch:
    """Sees how the jobs do, and writes it down.

    Args:
        pods: Whose jobs they are, and where to write what is seen.
        batch: The batch system.
    """

    def __init__(self, pods: Pods, batch: PatientBatch) -> None:
        self._pods = pods
        self._batch = batch
        self._journals = Journals()
        self._looked: dict[str, tuple[Record, JobStatus | None, list[Event]]] = {}
        self._sweeps = 0

    def sweep(self) -> None:
        """Ask about all jobs at once, then read the journals: what a job wrote before it ended is there by then."""
        watched = self._watched()
        if not watched:
            return
        told: Mapping[str, JobStatus] = {}
        with suppress(SiteError):  # the journals are read all the same
            told = self._batch.query([record.job_id for record in watched])
        asked = {record.uid for record in watched}
        # As they are now: the question may have taken its time, and there were looks meanwhile.
        self._look_at([record for record in self._watched() if record.uid in asked], told)

    def look(self) -> None:
        """Read the journals that have grown; of the batch system holds what it told last."""
        watched = self._watched()
        before = ((record.job_id, self._looked.get(record.uid)) for record in watched)
        self._look_at(watched, {job_id: looked[1] for job_id, looked in before if looked and looked[1]})

    def _watched(self) -> list[Record]:
        return [record for record in self._pods.records() if record.job_id and not record.final]

    def _look_at(self, watched: Sequence[Record], told: Mapping[str, JobStatus]) -> None:
        now = time.time()
        changes: Changes = {}
        self._sweeps += 1
        turns = len(watched) // IN_TURN + 1
        for index, record in enumerate(watched, self._sweeps):
            job = told.get(record.job_id)
            if index % turns and self._still_waits(record, job):
                continue
            if fields := self._look(record, job, now):
                changes[record.uid] = fields
        try:
            self._pods.change(changes)
        except SiteError:
            for uid in changes:  # what cannot be written counts as not seen
                self.forget(uid)
            raise

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
            return self.again_or_never(record, job.reason)
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
            self.forget(record.uid)
            log.info("ended", pod=record.uid, job=record.job_id, exit_codes=_exit_codes(seen["states"]))
        return {name: value for name, value in seen.items() if value != getattr(record, name)}

    def again_or_never(self, record: Record, why: str) -> dict[str, Any]:
        """The fields of a pod whose job was lost: it is submitted again, unless it had begun and has no request now."""
        log.warning("job lost", pod=record.uid, job=record.job_id, error=why)
        if record.deleted is None and self._pods.request(record.uid) is None:
            journal = self._journals.read(record.uid, self._pods.folder(record.uid))
            lost = replace(record, job=JobStatus(JobState.LOST, reason=why), ended_at=time.time(), final=True)
            self.forget(record.uid)
            states = container_states(lost, journal, over=True)
            return {"job": lost.job, "ended_at": lost.ended_at, "states": states, "final": True}
        self.forget(record.uid)
        self._pods.wake()
        fresh: dict[str, Any] = {"job_id": "", "hint": "", "job": None, "ended_at": None, "states": {}}
        return {**fresh, "tried": False, "problem": f"{why}; it is submitted again"}

    def forget(self, uid: str) -> None:
        """Let go of what was read of a pod that will not be looked at again."""
        self._journals.forget(uid)
        self._looked.pop(uid, None)


def _exit_codes(states: Mapping[str, ContainerState]) -> dict[str, int]:
    return {name: state.exit_code for name, state in states.items()}
