# ruff: noqa: S101  # these are tests
"""The contract suite: what every batch system must do, as tests that pytest collects.

Who writes a batch system derives a class whose name begins with ``Test`` and gives it a fixture::

    import pytest
    from flashlink.batch.testing import BatchContract

    class TestMySystem(BatchContract):
        @pytest.fixture
        def system(self):
            system = MySystem(...)
            yield system
            system.close()

The system has to run real jobs that reach `tmp_path`, at least two at a time. Slow systems raise `patience`.
"""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from flashlink.batch.system import BatchSystem, JobSpec, JobState, JobStatus
from flashlink.errors import SiteError

_FINAL = (JobState.ENDED, JobState.LOST)
_numbers = count()


class BatchContract:
    """Tests of a `BatchSystem`; derive and give the fixture ``system``."""

    #: Seconds after which a job that should have moved on has failed the test.
    patience = 20.0

    def job(self, folder: Path, script: str, *, grace: int = 1, walltime: int = 0, cpus: float = 0.1) -> JobSpec:
        """A job of these shell lines, with a uid and a private folder of its own."""
        uid = f"contract-{os.getpid()}-{time.time_ns()}-{next(_numbers)}"
        home = folder / uid
        home.mkdir(mode=0o700)
        path = home / "job.sh"
        path.write_text(f"#!/bin/bash\ncd {shlex.quote(str(home))} || exit 99\n{script}\n", "utf-8")
        path.chmod(0o700)
        return JobSpec(uid, uid, path, home, cpus=cpus, grace=grace, walltime=walltime)

    def submit(self, system: BatchSystem, *jobs: JobSpec) -> list[str]:
        """Job ids of jobs that must be taken."""
        ids = system.submit(jobs)
        assert all(isinstance(job_id, str) for job_id in ids), ids
        return [str(job_id) for job_id in ids]

    def wait(self, system: BatchSystem, ids: Sequence[str], states: Sequence[JobState] = _FINAL) -> list[JobStatus]:
        """Statuses of the jobs once each is in one of `states`."""
        limit = time.monotonic() + self.patience
        while True:
            found = system.query(ids)
            if all(found[job_id].state in states for job_id in ids):
                return [found[job_id] for job_id in ids]
            assert time.monotonic() < limit, f"after {self.patience} s: {found}"
            time.sleep(0.05)

    def wait_for(self, path: Path) -> None:
        """Wait until a job has made a file."""
        limit = time.monotonic() + self.patience
        while not path.exists():
            assert time.monotonic() < limit, f"no job has made {path}"
            time.sleep(0.05)

    def test_it_is_a_batch_system(self, system: BatchSystem) -> None:
        """All members of the protocol are there, and the name can be the first part of a job id."""
        assert isinstance(system, BatchSystem)
        assert system.name
        assert ":" not in system.name

    def test_exit_codes(self, system: BatchSystem, tmp_path: Path) -> None:
        """A job's exit code comes back as it is, in an order that has nothing to do with the order of ending."""
        jobs = [self.job(tmp_path, script) for script in ("sleep 0.3; exit 0", "exit 1", "exit 255")]
        ended = self.wait(system, self.submit(system, *jobs))
        assert [(status.state, status.exit_code) for status in ended] == [
            (JobState.ENDED, code) for code in (0, 1, 255)
        ]

    def test_times(self, system: BatchSystem, tmp_path: Path) -> None:
        """Where a system tells times they are those of the job."""
        before = time.time()
        (status,) = self.wait(system, self.submit(system, self.job(tmp_path, "sleep 1")))
        if status.started is not None and status.ended is not None:
            assert before - 2 < status.started < status.ended < time.time() + 2
            assert status.ended - status.started > 0.5

    def test_job_ids_name_the_system(self, system: BatchSystem, tmp_path: Path) -> None:
        """``system:scheduler:job``, each only once."""
        ids = self.submit(system, *(self.job(tmp_path, "true") for _ in range(3)))
        assert len(set(ids)) == 3
        assert all(job_id.startswith(f"{system.name}:") and job_id.count(":") >= 2 for job_id in ids)
        self.wait(system, ids)

    def test_the_same_uid_runs_once(self, system: BatchSystem, tmp_path: Path) -> None:
        """Submitting again, in one call or a later one, gives the same job."""
        job = self.job(tmp_path, "echo ran >>ran")
        first, second = self.submit(system, job, job)
        assert first == second
        assert self.submit(system, job) == [first]
        self.wait(system, [first])
        assert self.submit(system, job) == [first]
        time.sleep(0.3)
        assert (job.folder / "ran").read_text() == "ran\n"

    def test_jobs_are_found_by_uid(self, system: BatchSystem, tmp_path: Path) -> None:
        """Running or ended; what it does not know is left out."""
        job = self.job(tmp_path, "true")
        (job_id,) = self.submit(system, job)
        assert system.find([job.uid, "contract-unknown"]) == {job.uid: job_id}
        self.wait(system, [job_id])
        assert system.find([job.uid]) == {job.uid: job_id}

    def test_unknown_jobs_are_lost(self, system: BatchSystem, tmp_path: Path) -> None:
        """A job that it has never heard of, and what is no job id at all; both without an error."""
        (job_id,) = self.submit(system, self.job(tmp_path, "true"))
        other = job_id[:-1] + ("8" if job_id.endswith("9") else "9")
        strange = [f"{other}0000000", "", "nonsense", f"{system.name}:::", f"{system.name}:x:-1"]
        self.wait(system, strange, (JobState.LOST,))  # a system may look twice before it says so
        system.cancel(strange)
        system.forget(strange)
        self.wait(system, [job_id])

    def test_cancel_is_gentle_first(self, system: BatchSystem, tmp_path: Path) -> None:
        """SIGTERM reaches the script, which has time to clean up."""
        job = self.job(tmp_path, "trap 'echo bye >bye; exit 0' TERM; touch up; while :; do sleep 0.1; done", grace=5)
        (job_id,) = self.submit(system, job)
        self.wait_for(job.folder / "up")
        system.cancel([job_id])
        (status,) = self.wait(system, [job_id])
        self.wait_for(job.folder / "bye")  # a system behind a gateway may call the job ended while it still ends
        assert status.exit_code != 0

    def test_cancel_with_a_grace_of_its_own(self, system: BatchSystem, tmp_path: Path) -> None:
        """The grace of the cancel stands over the job's: a script that does not listen is killed sooner."""
        job = self.job(tmp_path, "trap '' TERM; touch up; while :; do sleep 0.1; done", grace=600)
        (job_id,) = self.submit(system, job)
        self.wait_for(job.folder / "up")
        system.cancel([job_id], grace=0)
        (status,) = self.wait(system, [job_id])
        assert status.exit_code != 0

    def test_cancel_of_a_waiting_or_ended_job(self, system: BatchSystem, tmp_path: Path) -> None:
        """A job cancelled right after its submission ends; cancelling again changes nothing."""
        (job_id,) = self.submit(system, self.job(tmp_path, "sleep 60"))
        system.cancel([job_id])
        (status,) = self.wait(system, [job_id])
        assert status.exit_code != 0
        system.cancel([job_id])
        assert system.query([job_id])[job_id] == status

    def test_a_job_leaves_no_process(self, system: BatchSystem, tmp_path: Path) -> None:
        """What the script has put into the background ends with it."""
        job = self.job(tmp_path, "sleep 300 & echo $! >left; setsid sleep 300 & echo $! >>left; sleep 0.3")
        self.wait(system, self.submit(system, job))
        limit = time.monotonic() + self.patience
        left = [int(line) for line in (job.folder / "left").read_text().split()]
        while any(map(_runs, left)):
            assert time.monotonic() < limit, f"of {left} some run on"
            time.sleep(0.05)

    def test_walltime(self, system: BatchSystem, tmp_path: Path) -> None:
        """A job that runs longer than it asked for is ended, is not a success, and a person learns why."""
        self.ends_at_its_walltime(system, self.submit(system, self.job(tmp_path, "sleep 600", walltime=1)))

    def ends_at_its_walltime(self, system: BatchSystem, ids: Sequence[str]) -> None:
        """Wait for one job that asked for less time than it takes, and check how it ends."""
        (status,) = self.wait(system, ids)
        assert status.exit_code != 0
        assert status.reason

    def test_a_killed_script_is_told_as_such(self, system: BatchSystem, tmp_path: Path) -> None:
        """SIGKILL from outside, as the kernel does when memory is short."""
        job = self.job(tmp_path, "echo $$ >pid.part; mv pid.part pid; sleep 60; true")
        (job_id,) = self.submit(system, job)
        self.wait_for(job.folder / "pid")
        os.kill(int((job.folder / "pid").read_text()), signal.SIGKILL)
        (status,) = self.wait(system, [job_id])
        assert status.state is JobState.LOST or (status.exit_code == 137 and status.reason)

    def test_output_of_the_script_is_kept(self, system: BatchSystem, tmp_path: Path) -> None:
        """In ``job.log``, both streams."""
        job = self.job(tmp_path, "echo out; echo err >&2")
        self.wait(system, self.submit(system, job))
        assert sorted((job.folder / "job.log").read_text().split()) == ["err", "out"]

    def test_what_it_cannot_run_is_refused_alone(self, system: BatchSystem, tmp_path: Path) -> None:
        """A refusal is one line about one job; its neighbours run."""
        huge = self.job(tmp_path, "true", cpus=system.capacity().cpus * 1000 + 1)
        good = self.job(tmp_path, "true")
        refusal, job_id = system.submit([huge, good])
        assert isinstance(refusal, SiteError)
        assert "\n" not in str(refusal)
        assert isinstance(job_id, str)
        self.wait(system, [job_id])

    def test_forget(self, system: BatchSystem, tmp_path: Path) -> None:
        """Of ended jobs it may drop all; of others nothing."""
        done, running = self.submit(system, self.job(tmp_path, "true"), self.job(tmp_path, "sleep 60"))
        self.wait(system, [done])
        system.forget([done, running])
        assert system.query([running])[running].state in (JobState.QUEUED, JobState.RUNNING)
        system.cancel([running])
        self.wait(system, [running])

    def test_capacity(self, system: BatchSystem) -> None:
        """Totals are positive."""
        capacity = system.capacity()
        assert capacity.cpus >= 1
        assert capacity.memory > 0
        assert capacity.jobs >= 1


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
