"""How Slurm is asked: by its own commands, or by slurmrestd (`flashlink.batch.slurm.rest`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

from flashlink.batch.slurm import answers, examination, refusals, submission
from flashlink.batch.slurm.answers import Row
from flashlink.batch.slurm.commands import Command
from flashlink.batch.slurm.connection import Connection
from flashlink.batch.slurm.options import Options
from flashlink.batch.system import Capacity, JobSpec
from flashlink.errors import SiteError
from flashlink.finding import Finding


class Scheduler(Protocol):
    """What `SlurmBatch` asks of Slurm. A `SiteError` that is transient says that there was no answer, or not now."""

    def describe(self, spec: JobSpec) -> Any:
        """The job in Slurm's words, for `submit`; raises `SiteError` where it cannot be placed."""

    def submit(self, described: Sequence[Any]) -> list[int | SiteError]:
        """Submit jobs; for each its number, or why it was refused: an `UnsureError` if it may be there all the same."""

    def queue(self) -> list[Row]:
        """All jobs of the user that the controller knows, ended ones too, by one question."""

    def places(self) -> dict[int, str]:
        """The folders of the same jobs, by number."""

    def accounted(self, numbers: Sequence[int]) -> tuple[list[Row], str]:
        """What the accounting knows of jobs, and why it did not answer, or ""; nothing where there is none."""

    def accounted_since(self, days: int) -> list[Row]:
        """All that the accounting knows of the user's jobs of the last days."""

    def terminate(self, numbers: Sequence[int]) -> None:
        """Send SIGTERM to the scripts of jobs that run."""

    def cancel(self, numbers: Sequence[int]) -> None:
        """End jobs, or take them out of the queue."""

    def cluster(self) -> str:
        """The cluster's name."""

    def booted(self) -> float | None:
        """When the controller was started, in seconds since the epoch; None if it does not tell."""

    def capacity(self, jobs: int) -> Capacity:
        """Totals of the nodes that are up, with `jobs` as the most jobs."""

    def failed(self, nodes: Collection[str]) -> set[str]:
        """Those of these nodes that are down, or do not respond."""

    def examine(self, probe: JobSpec) -> Iterator[Finding]:
        """Look at what it is asked by, for ``flashlink check``; `probe` is a small job, which is not submitted."""

    def close(self) -> None:
        """Let go of connections."""


class CommandLine:
    """Implements `Scheduler` by sbatch, squeue, sacct, scancel, scontrol and sinfo.

    Args:
        connection: To where these commands are.
        options: Of the site.
    """

    def __init__(self, connection: Connection, options: Options) -> None:
        self._connection = connection
        self._options = options
        self._seconds = options.command_seconds

    def describe(self, spec: JobSpec) -> Command:
        """See `Scheduler.describe`."""
        return submission.sbatch(spec, self._options)

    def submit(self, described: Sequence[Command]) -> list[int | SiteError]:
        """See `Scheduler.submit`; all by one shell, which ends when it can tell nobody."""
        outcomes: list[int | SiteError] = []
        for answer in self._connection.run(*described):
            try:
                outcomes.append(submission.number(answer))
            except SiteError as error:
                outcomes.append(error)
        return outcomes

    def queue(self) -> list[Row]:
        """See `Scheduler.queue`."""
        (told,) = self._connection.run(answers.squeue(self._seconds))
        return answers.rows(told)

    def places(self) -> dict[int, str]:
        """See `Scheduler.places`."""
        (told,) = self._connection.run(answers.squeue_places(self._seconds))
        return answers.places(told)

    def accounted(self, numbers: Sequence[int]) -> tuple[list[Row], str]:
        """See `Scheduler.accounted`."""
        rows: list[Row] = []
        trouble = ""
        for answer in self._connection.run(*answers.sacct(numbers, self._seconds)):
            try:
                rows += answers.accounted(answer) or ()
            except SiteError as error:
                trouble = str(error)
        return rows, trouble

    def accounted_since(self, days: int) -> list[Row]:
        """See `Scheduler.accounted_since`."""
        (told,) = self._connection.run(answers.sacct_since(days, self._seconds))
        return answers.accounted(told) or []

    def terminate(self, numbers: Sequence[int]) -> None:
        """See `Scheduler.terminate`."""
        self._scancel(numbers, "--batch", "--signal=TERM")

    def cancel(self, numbers: Sequence[int]) -> None:
        """See `Scheduler.cancel`."""
        self._scancel(numbers)

    def cluster(self) -> str:
        """See `Scheduler.cluster`."""
        (told,) = self._connection.run(answers.configuration())
        return answers.cluster_name(told)

    def booted(self) -> float | None:
        """See `Scheduler.booted`."""
        (told,) = self._connection.run(answers.configuration())
        return answers.boot_time(told)

    def capacity(self, jobs: int) -> Capacity:
        """See `Scheduler.capacity`."""
        partitions = submission.partitions(self._options)
        (told,) = self._connection.run(answers.sinfo(partitions, self._seconds))
        return answers.capacity(told, partitions, jobs)

    def failed(self, nodes: Collection[str]) -> set[str]:
        """See `Scheduler.failed`."""
        (told,) = self._connection.run(answers.sinfo_of(nodes, self._seconds))
        return answers.failed(told)

    def examine(self, probe: JobSpec) -> Iterator[Finding]:
        """See `Scheduler.examine`."""
        (told,) = self._connection.run(examination.programs())
        found = examination.commands_found(told, self._connection.where)
        yield found
        if found.status != "ok":
            return
        for name, spec in examination.most(probe, self._options):
            (told,) = self._connection.run(examination.trial(spec, self._options))
            yield examination.trial_found(told, name, submission.place(spec, self._options))

    def close(self) -> None:
        """The connection is not ours."""

    def _scancel(self, numbers: Sequence[int], *how: str) -> None:
        if numbers:
            (answer,) = self._connection.run(Command(("scancel", *how, *map(str, numbers))))
            refusal = refusals.refusal(answer)
            if answer.status and refusal.transient:
                raise refusal
