"""The end of deleted pods: their jobs are cancelled, and of those that have ended no trace stays."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from flashlink.batch import JobState
from flashlink.errors import RequestError, SiteError
from flashlink.plugin import folders, submission
from flashlink.plugin.patience import PatientBatch
from flashlink.plugin.pods import Pods
from flashlink.plugin.record import Record

#: Seconds after which a job that still runs is cancelled again.
CANCEL_AGAIN = 60.0

log = structlog.get_logger("flashlink.plugin")


class Removal:
    """Ends what was deleted.

    Args:
        pods: Which of them are.
        batch: The batch system.
        forget: Told the uid of each pod that is gone.
    """

    def __init__(self, pods: Pods, batch: PatientBatch, forget: Callable[[str], None]) -> None:
        self._pods = pods
        self._batch = batch
        self._forget = forget
        self._cancelled: dict[str, float] = {}

    def end_deleted(self) -> None:
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
            self._bury([record for record in ended if remove_folder(self._pods.folder(record.uid))])

    def _bury(self, gone: Sequence[Record]) -> None:
        if not gone:
            return
        self._pods.bury(record.uid for record in gone)
        for record in gone:
            self._cancelled.pop(record.uid, None)
            self._forget(record.uid)
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


def remove_folder(folder: Path) -> bool:
    """Remove the private folder of a pod; False, and a line in the log, if that cannot be done yet."""
    try:
        folders.remove(folder)
    except OSError as error:
        log.warning("folder not removed yet", pod=folder.name, error=str(error))
        return False
    return True
