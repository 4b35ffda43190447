"""What jobs write where worker and plugin share no file system: fetched as it grows, and in whole before they end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from flashlink.batch.slurm.books import Books, Job
from flashlink.batch.slurm.spool import Spool
from flashlink.batch.system import JobState, JobStatus
from flashlink.errors import SiteError

#: Seconds for which the output of an ended job is asked for again before the job is told to have ended without it.
PATIENCE = 3600.0

#: Most ended jobs whose files are brought in one call.
MOST = 200


_NONE = JobStatus(JobState.LOST)
_WAITS = (JobState.QUEUED, JobState.HELD)


class Output:
    """Fetches the output of jobs.

    Args:
        spool: Carries it.
        books: Where the jobs' folders are noted.
        days: After which a folder that is nobody's is removed.
    """

    def __init__(self, spool: Spool, books: Books, days: int) -> None:
        self._spool = spool
        self._books = books
        self._days = days
        self._next_tidy = 0.0
        self._turn = 0  # the job that comes first the next time, where one look does not do for all
        self._ran: set[int] = set()  # numbers of the jobs that ran when last asked about
        self._tried: dict[int, float] = {}  # number to when its output was first asked for in vain

    def told(self, statuses: Mapping[int, JobStatus]) -> dict[int, JobStatus]:
        """What statuses by number mean once the output is here: a job whose output is not has not ended yet.

        Raises:
            SiteError: Transient: the site does not answer.
        """
        run = {number for number, status in statuses.items() if status.state is JobState.RUNNING}
        # One that waits again was requeued: what its first run left has to be seen.
        waits_again = {number for number in self._ran - run if statuses.get(number, _NONE).state in _WAITS}
        self._ran = run
        running = self._jobs(sorted(run | waits_again))
        start = self._turn if self._turn < len(running) else 0
        looked = self._spool.follow([*running[start:], *running[:start]])
        self._turn = 0 if looked >= len(running) else start + looked
        over = [number for number, status in statuses.items() if status.state in (JobState.ENDED, JobState.LOST)]
        troubles: dict[int, str] = {}
        for at in range(0, len(over), MOST):
            troubles |= self._spool.fetch(self._jobs(over[at : at + MOST]))
        for number in over:
            if number not in troubles:
                self._tried.pop(number, None)
        return {
            number: self._without(number, status, troubles[number]) if number in troubles else status
            for number, status in statuses.items()
        }

    def tidy(self, queued: set[str]) -> None:
        """Once a day, remove old folders that no pod of ours and no job in the queue has: of plugins that were killed.

        Args:
            queued: Pods whose jobs are in the queue.
        """
        if time.monotonic() < self._next_tidy:
            return
        self._next_tidy = time.monotonic() + 86400.0
        with suppress(SiteError):  # tomorrow, then
            old = self._spool.old(self._days)
            self._spool.remove([uid for uid in old if uid not in queued and self._books.of(uid) is None])

    def _without(self, number: int, status: JobStatus, trouble: str) -> JobStatus:
        now = time.monotonic()
        if now - self._tried.setdefault(number, now) < PATIENCE:
            return JobStatus(JobState.RUNNING, None, f"its output cannot be fetched yet: {trouble}", status.node)
        del self._tried[number]
        return replace(status, reason=f"{status.reason or 'it has ended'}; its output could not be fetched: {trouble}")

    def _jobs(self, numbers: Iterable[int]) -> list[Job]:
        return [job for number in numbers if (job := self._books.job(number)) is not None]
