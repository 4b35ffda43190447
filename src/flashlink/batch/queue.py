"""The local batch system's queue on disk: SQLite, so that a kill at any moment leaves each job in it once."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from flashlink.batch.system import JobSpec, JobState, JobStatus

_SCHEMA = """
create table if not exists jobs (
  number integer primary key autoincrement,  -- never used again, as job ids must not be
  uid text not null unique,
  spec text not null,
  status text not null,
  cancelled integer not null default 0
)
"""


@dataclass(slots=True)
class Job:
    """A job in the queue; the database holds the same.

    Attributes:
        number: Counts up; never given twice.
        spec: What was submitted.
        status: Where it is.
        cancelled: The user wants it ended.
    """

    number: int
    spec: JobSpec
    status: JobStatus
    cancelled: bool = False


class Queue:
    """All jobs that the system has not forgotten, in order of submission.

    Args:
        path: The database; made if missing, and private: it names every pod.
    """

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)  # its journals get the mode of the file itself
        path.chmod(0o600)
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = normal")  # a kill of this process loses nothing
        self._database.execute(_SCHEMA)
        self._number_by_time()

    def _number_by_time(self) -> None:
        """Numbers go on from the present, so that a queue made anew repeats no job id of one that was deleted."""
        if self._database.execute("select count(*) from sqlite_sequence").fetchone()[0] == 0:
            self._database.execute("insert into sqlite_sequence (name, seq) values ('jobs', ?)", (int(time.time()),))

    def __iter__(self) -> Iterator[Job]:
        """All jobs as they are on disk."""
        rows = self._database.execute("select number, spec, status, cancelled from jobs order by number")
        for number, spec, status, cancelled in rows:
            yield Job(number, _read_spec(spec), _read_status(status), bool(cancelled))

    def add(self, specs: Iterable[JobSpec]) -> list[Job]:
        """Put new jobs at the end, all or none."""
        queued = JobStatus(JobState.QUEUED, reason="waits for free cores, memory or GPUs")
        with self._transaction():
            return [Job(self._insert(spec, queued), spec, queued) for spec in specs]

    def _insert(self, spec: JobSpec, status: JobStatus) -> int:
        row = self._database.execute(
            "insert into jobs (uid, spec, status) values (?, ?, ?) returning number",
            (spec.uid, json.dumps(asdict(spec), default=str), _status_text(status)),
        ).fetchone()
        return int(row[0])

    def update(self, job: Job, **changes: object) -> None:
        """Change fields of a job's status, here and on disk."""
        job.status = replace(job.status, **changes)  # type: ignore[arg-type]  # the names are JobStatus' own
        self._database.execute("update jobs set status = ? where number = ?", (_status_text(job.status), job.number))

    def cancel(self, job: Job) -> None:
        """Note that the user wants it ended."""
        job.cancelled = True
        self._database.execute("update jobs set cancelled = 1 where number = ?", (job.number,))

    def remove(self, jobs: Iterable[Job]) -> None:
        """Forget jobs."""
        with self._transaction():
            self._database.executemany("delete from jobs where number = ?", [(job.number,) for job in jobs])

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _transaction(self) -> sqlite3.Connection:
        self._database.execute("begin immediate")
        return self._database  # as a context it commits, or rolls back


def _status_text(status: JobStatus) -> str:
    return json.dumps({**asdict(status), "state": status.state.value})


def _read_status(text: str) -> JobStatus:
    fields = json.loads(text)
    return JobStatus(**{**fields, "state": JobState(fields["state"])})


def _read_spec(text: str) -> JobSpec:
    fields = json.loads(text)
    return JobSpec(**{**fields, "script": Path(fields["script"]), "folder": Path(fields["folder"])})
