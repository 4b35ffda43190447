"""What the Slurm system itself keeps on disk: the folder of each of its jobs, where the job leaves its record."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from flashlink.errors import SiteError

#: Seconds to wait for the shells that a former process has left.
_LOCK_SECONDS = 90.0

_SCHEMA = """
create table if not exists jobs (number integer primary key, uid text not null unique, folder text not null,
  grace integer not null, home text not null);
create table if not exists cluster (name text not null);
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A job that was submitted or found.

    Attributes:
        number: Slurm's job id.
        uid: Of the pod.
        folder: The job's, as the worker sees it; "" if it is not known.
        grace: Seconds between SIGTERM and SIGKILL, unless a cancel says otherwise.
        home: The plugin's folder for it, where that is another; "" if it is not known.
    """

    number: int
    uid: str
    folder: str
    grace: int = 30
    home: str = ""


class Books:
    """Jobs that are not forgotten yet, in memory and on disk.

    Args:
        path: The database; made if missing, and private.
    """

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        path.chmod(0o600)
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = normal")  # a kill of this process loses nothing
        with closing(self._database.executescript(_SCHEMA)):
            self._jobs = {job.number: job for job in self._read()}
        self._uids = {job.uid: job for job in self._jobs.values()}

    def belong_to(self, cluster: str) -> None:
        """Forget the jobs of any other cluster: their numbers mean nothing in this one."""
        row = self._database.execute("select name from cluster").fetchone()
        if row == (cluster,):
            return
        with self._database:
            self._database.execute("delete from jobs")
            self._database.execute("delete from cluster")
            self._database.execute("insert into cluster values (?)", (cluster,))
        self._jobs, self._uids = {}, {}

    def job(self, number: int) -> Job | None:
        """The job of a number."""
        return self._jobs.get(number)

    def of(self, uid: str) -> Job | None:
        """The job of a pod."""
        return self._uids.get(uid)

    def add(self, jobs: Iterable[Job]) -> None:
        """Note jobs; one of the same pod or number takes the place of the other."""
        new = list(jobs)
        former = [old.number for job in new if (old := self._uids.get(job.uid)) is not None]
        self.remove({*former, *(job.number for job in new)})
        with self._database:
            rows = [(job.number, job.uid, job.folder, job.grace, job.home) for job in new]
            self._database.executemany("insert or replace into jobs values (?, ?, ?, ?, ?)", rows)
        for job in new:
            self._jobs[job.number] = self._uids[job.uid] = job

    def remove(self, numbers: Iterable[int]) -> None:
        """Forget jobs."""
        gone = [number for number in numbers if number in self._jobs]
        with self._database:
            self._database.executemany("delete from jobs where number = ?", [(number,) for number in gone])
        for number in gone:
            job = self._jobs.pop(number)
            if self._uids.get(job.uid) == job:
                del self._uids[job.uid]

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _read(self) -> Iterator[Job]:
        for row in self._database.execute("select number, uid, folder, grace, home from jobs"):
            yield Job(*row)


def hold(path: Path) -> int:
    """Hold the state by a lock on a file; a shell of a former process may do so until it has ended.

    Raises:
        SiteError: Another process holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    limit = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > limit:
                os.close(handle)
                raise SiteError(
                    f"{path.parent}: another flashlink process uses this state; stop it, or give a folder of its own"
                ) from None
            time.sleep(0.1)
        else:
            return handle
