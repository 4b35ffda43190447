"""Ending jobs: SIGTERM to the script, which has its grace, then Slurm's own end of what does not listen."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from flashlink.batch.slurm.answers import Row
from flashlink.batch.slurm.books import Books
from flashlink.batch.slurm.commands import TIMED_OUT, Command
from flashlink.batch.slurm.connection import Connection
from flashlink.batch.slurm.scheduler import Scheduler
from flashlink.batch.system import JobState
from flashlink.errors import SiteError

#: Seconds beyond the grace after which Slurm ends a job that was told to end.
MARGIN = 30.0

_WRITE_GRACE = (
    'for folder; do printf "%s\\n" "$0" >"$folder/grace.new" && mv -f "$folder/grace.new" "$folder/grace"; done'
)


class Ending:
    """Ends jobs, and remembers which.

    Args:
        scheduler: Ends them.
        connection: To where the jobs' folders are.
        books: Where the jobs' folders and graces are noted.
    """

    def __init__(self, scheduler: Scheduler, connection: Connection, books: Books) -> None:
        self._scheduler = scheduler
        self._connection = connection
        self._books = books
        self._due: dict[int, float] = {}  # number to when Slurm shall end it
        self._told: set[int] = set()

    def was_told(self, number: int) -> bool:
        """Whether the job was told to end."""
        return number in self._told

    def forget(self, numbers: Iterable[int]) -> None:
        """Of jobs that are over."""
        for number in numbers:
            self._due.pop(number, None)
            self._told.discard(number)

    def begin(self, numbers: set[int], grace: int | None) -> None:
        """Tell running jobs to end; take waiting ones out of the queue.

        Raises:
            SiteError: Transient: Slurm did not answer.
        """
        meant = [row for row in self._scheduler.queue() if self._is_meant(row, numbers)]
        running = [row.number for row in meant if row.state == "RUNNING" and not self._is_overdue(row.number)]
        others = [row.number for row in meant if row.number not in running and row.status.state is not JobState.ENDED]
        self._told.update(running, others)
        self._tell_grace(running, grace)
        self._scheduler.terminate(running)
        self._scheduler.cancel(others)
        now = time.monotonic()
        for number in running:
            self._due.setdefault(number, now + MARGIN + self._grace(number, grace))

    def end_overdue(self, listed: Mapping[int, Row]) -> None:
        """Let Slurm end what was told to and runs on: by its own SIGTERM, its KillWait and SIGKILL."""
        late = [number for number in self._due if self._is_overdue(number) and number in listed]
        running = [number for number in late if listed[number].state == "RUNNING"]
        self._scheduler.cancel(running)
        self._due.update((number, time.monotonic() + MARGIN) for number in running)

    def _is_meant(self, row: Row, numbers: set[int]) -> bool:
        """A pod's second job, which Slurm was thought to have refused, ends with the first."""
        pods = {job.uid for number in numbers if (job := self._books.job(number)) is not None}
        return row.number in numbers or row.uid in pods

    def _grace(self, number: int, grace: int | None) -> int:
        job = self._books.job(number)
        if grace is not None:
            return grace
        return job.grace if job is not None else 0

    def _tell_grace(self, numbers: Sequence[int], grace: int | None) -> None:
        """Jobs with a grace of this cancel read it in their folders when SIGTERM comes."""
        folders = [job.folder for number in numbers if (job := self._books.job(number)) and job.folder]
        if folders and grace is not None:
            (answer,) = self._connection.run(Command(("bash", "-c", _WRITE_GRACE, str(grace), *folders)))
            if answer.status in TIMED_OUT:
                raise SiteError(f"the grace of jobs cannot be written: {answer.problem}", transient=True)

    def _is_overdue(self, number: int) -> bool:
        return time.monotonic() > self._due.get(number, float("inf"))
