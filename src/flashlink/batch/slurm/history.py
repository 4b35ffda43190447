"""Jobs that Slurm's controller has forgotten: what the accounting and the jobs' own records say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from flashlink.batch.slurm import answers
from flashlink.batch.slurm.answers import Row
from flashlink.batch.slurm.books import Books, Job
from flashlink.batch.slurm.commands import Command
from flashlink.batch.slurm.connection import Connection
from flashlink.batch.slurm.options import Options
from flashlink.batch.slurm.scheduler import Scheduler
from flashlink.batch.system import JobState, JobStatus

#: Of each folder the record of the end; and, if no job has claimed the pod, when its script was written.
_READ_RECORDS = """for folder; do
  cat "$folder/slurm/end" 2>/dev/null
  printf "\\2"
  [ -L "$folder/slurm/claim" ] || stat -c %Y -- "$folder/job.sh" 2>/dev/null
  printf "\\1"
done"""


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of jobs that have left the queue, by number.

    Attributes:
        ended: How jobs have ended.
        known: Jobs that the accounting knows, but not yet their end.
        unclaimed: When the script of a pod was written for which no job has begun; seconds since the epoch.
        trouble: Why the accounting did not answer, or "".
    """

    ended: dict[int, JobStatus]
    known: set[int]
    unclaimed: dict[int, float]
    trouble: str


class History:
    """Looks for jobs that have left the queue.

    Args:
        scheduler: Asks the accounting.
        connection: To where the jobs' folders are.
        books: Where the jobs' folders are noted.
        options: Of the site.
    """

    def __init__(self, scheduler: Scheduler, connection: Connection, books: Books, options: Options) -> None:
        self._scheduler = scheduler
        self._connection = connection
        self._books = books
        self._options = options

    def look(self, numbers: Sequence[int]) -> Past:
        """What the accounting and the folders of jobs tell.

        Raises:
            SiteError: Transient: there was no answer.
        """
        folders = {number: job.folder for number in numbers if (job := self._books.job(number)) and job.folder}
        records = Command(("bash", "-c", _READ_RECORDS, "records", *folders.values()))
        (written,) = self._connection.run(records)
        rows, trouble = self._scheduler.accounted(numbers)
        texts = [text.partition("\2") for text in written.output.split("\1")]
        ended = dict(_recorded(folders, [text for text, _, _ in texts]))
        times = zip(folders, [time.strip() for _, _, time in texts], strict=False)
        known = [row for row in rows if self._is_same(row)]
        for row in known:
            if row.status.state is JobState.ENDED:
                ended[row.number] = _agreed(row.status, ended.get(row.number))
        unclaimed = {number: float(time) for number, time in times if time.isdecimal()}
        return Past(ended, {row.number for row in known} - ended.keys(), unclaimed, trouble)

    def find(self, uids: set[str]) -> dict[str, Job]:
        """Jobs of pods by uid; of several for one pod the first.

        Raises:
            SiteError: Transient: the accounting did not answer.
        """
        rows = sorted(self._scheduler.accounted_since(self._options.history_days), key=lambda row: -row.number)
        return {row.uid: Job(row.number, row.uid, row.folder) for row in rows if row.uid in uids}

    def _is_same(self, row: Row) -> bool:
        """Whether a row is of the job that we know by that number: Slurm may have begun to count anew."""
        job = self._books.job(row.number)
        return job is None or job.uid == row.uid


def _agreed(accounted: JobStatus, recorded: JobStatus | None) -> JobStatus:
    """The accounting knows why; the job knows its exit code better, as sacct of some versions tells 127 for 255."""
    if recorded is None:
        return accounted
    return replace(accounted, exit_code=recorded.exit_code or accounted.exit_code)


def _recorded(folders: Mapping[int, str], texts: Sequence[str]) -> Iterator[tuple[int, JobStatus]]:
    for number, text in zip(folders, texts, strict=False):
        status = answers.record(text, number)
        if status is not None:
            yield number, status
