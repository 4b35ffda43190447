"""The local batch system: the contract of all systems, and what only it promises."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flashlink.batch import JobState, load
from flashlink.batch.local import LocalBatch
from flashlink.batch.starter import Identity
from flashlink.batch.testing import BatchContract
from flashlink.errors import SiteError


def open_system(state: Path, *, cpus: int = 8, pods: int = 100) -> LocalBatch:
    return LocalBatch(state, cpus=cpus, memory=0, pods=pods, options={})


class TestLocal(BatchContract):
    test_cancel_with_a_grace_of_its_own = pytest.mark.slow(BatchContract.test_cancel_with_a_grace_of_its_own)
    test_a_killed_script_is_told_as_such = pytest.mark.slow(BatchContract.test_a_killed_script_is_told_as_such)

    @pytest.fixture
    def system(self, tmp_path: Path) -> Iterator[LocalBatch]:
        system = open_system(tmp_path / "state")
        yield system
        live = [*system._waiting, *system._running]
        system.cancel([f"local:{os.uname().nodename}:{number}" for number in live])
        limit = time.monotonic() + 15
        while (system._waiting or system._running) and time.monotonic() < limit:
            time.sleep(0.05)
        system.close()

    @pytest.mark.slow
    def test_what_a_killed_script_left_has_time_to_clean_up(self, system: LocalBatch, tmp_path: Path) -> None:
        keeper = "(while kill -0 $$; do sleep 0.05; done; touch cleaned) 2>/dev/null &"
        job = self.job(tmp_path, f"{keeper} echo $$ >pid.part; mv pid.part pid; sleep 60; true")
        (job_id,) = self.submit(system, job)
        self.wait_for(job.folder / "pid")
        os.kill(int((job.folder / "pid").read_text()), signal.SIGKILL)
        self.wait(system, [job_id])
        assert (job.folder / "cleaned").exists()

    @pytest.mark.slow
    def test_no_more_runs_than_there_are_cores(self, tmp_path: Path) -> None:
        system = open_system(tmp_path / "state", cpus=2)
        jobs = [self.job(tmp_path, "sleep 0.4", cpus=1) for _ in range(5)]
        ids = self.submit(system, *jobs)
        most = running = 0
        while running or not most:
            states = [status.state for status in system.query(ids).values()]
            running = states.count(JobState.RUNNING)
            most = max(most, running)
            time.sleep(0.02)
        self.wait(system, ids)
        system.close()
        assert most == 2

    def test_a_small_job_passes_one_that_does_not_fit(self, tmp_path: Path) -> None:
        system = open_system(tmp_path / "state", cpus=2)
        jobs = [
            self.job(tmp_path, "while [ ! -e ../go ]; do sleep 0.05; done", cpus=1),
            self.job(tmp_path, "true", cpus=2),
            self.job(tmp_path, "touch ../go", cpus=1),
        ]
        ids = self.submit(system, *jobs)
        ended = self.wait(system, ids)
        system.close()
        assert [status.exit_code for status in ended] == [0, 0, 0]

    def test_a_new_object_takes_up_running_and_queued_jobs(self, tmp_path: Path) -> None:
        first = open_system(tmp_path / "state", cpus=1)
        jobs = [
            self.job(tmp_path, "echo $$ >>ran; while [ ! -e ../go ]; do sleep 0.05; done; exit 5", cpus=1),
            self.job(tmp_path, "echo $$ >>ran; exit 6", cpus=1),
        ]
        ids = self.submit(first, *jobs)
        self.wait_for(jobs[0].folder / "ran")
        first.close()
        (tmp_path / "go").touch()
        second = open_system(tmp_path / "state", cpus=1)
        ended = self.wait(second, ids)
        second.close()
        assert [status.exit_code for status in ended] == [5, 6]
        assert all(len((job.folder / "ran").read_text().splitlines()) == 1 for job in jobs)

    def test_jobs_outlive_a_kill_of_the_plugin(self, tmp_path: Path) -> None:
        job = self.job(tmp_path, "echo $$ >>ran; sleep 1; exit 7")
        program = (
            "import sys, time; from pathlib import Path; from flashlink.batch.local import LocalBatch\n"
            "from flashlink.batch import JobSpec\n"
            "system = LocalBatch(Path(sys.argv[1]), cpus=2, memory=0, pods=9, options={})\n"
            "folder = Path(sys.argv[2])\n"
            "print(system.submit([JobSpec(folder.name, 'x', folder / 'job.sh', folder)])[0], flush=True)\n"
            "time.sleep(60)\n"
        )
        for delay in (0.0, 0.3):  # before the job's start, and in the middle of it
            command = [sys.executable, "-c", program, str(tmp_path / "state"), str(job.folder)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as plugin:
                assert plugin.stdout is not None
                job_id = plugin.stdout.readline().strip()
                time.sleep(delay)
                plugin.send_signal(signal.SIGKILL)
        system = open_system(tmp_path / "state")
        (status,) = self.wait(system, [job_id])
        system.close()
        assert (status.state, status.exit_code) == (JobState.ENDED, 7)
        assert len((job.folder / "ran").read_text().splitlines()) == 1

    @pytest.mark.slow
    def test_walltime_holds_while_nobody_looks(self, tmp_path: Path) -> None:
        system = open_system(tmp_path / "state")
        job = self.job(tmp_path, "touch up; sleep 60", walltime=1)
        (job_id,) = self.submit(system, job)
        self.wait_for(job.folder / "up")
        system.close()
        time.sleep(1.5)
        system = open_system(tmp_path / "state")
        status = system.query([job_id])[job_id]
        if status.state is JobState.RUNNING:
            (status,) = self.wait(system, [job_id])
        system.close()
        assert (status.exit_code, status.reason) == (143, "ended at its wall time of 1 s")
        assert status.ended is not None
        assert status.started is not None
        assert status.ended - status.started < 2

    def test_a_killed_starter_is_a_lost_job_without_remains(self, system: LocalBatch, tmp_path: Path) -> None:
        job = self.job(tmp_path, "echo $$ >pid; sleep 60")
        (job_id,) = self.submit(system, job)
        self.wait_for(job.folder / "pid")
        script = int((job.folder / "pid").read_text())
        run = json.loads(next((tmp_path / "state" / "jobs").glob("*/run.json")).read_text())
        os.kill(run["pid"], signal.SIGKILL)
        (status,) = self.wait(system, [job_id])
        assert status.state is JobState.LOST
        assert status.reason == "the process that supervised it was killed"
        limit = time.monotonic() + 5
        while Identity.of(script) is not None:
            assert time.monotonic() < limit
            time.sleep(0.05)

    @pytest.mark.slow
    def test_a_restarted_machine_is_a_lost_job(self, tmp_path: Path) -> None:
        system = open_system(tmp_path / "state")
        job = self.job(tmp_path, "touch up; sleep 2")
        (job_id,) = self.submit(system, job)
        self.wait_for(job.folder / "up")
        system.close()
        record = next((tmp_path / "state" / "jobs").glob("*/run.json"))
        record.write_text(json.dumps({**json.loads(record.read_text()), "boot": "another"}))
        system = open_system(tmp_path / "state")
        (status,) = self.wait(system, [job_id])
        system.close()
        assert (status.state, status.reason) == (JobState.LOST, "the machine was restarted while it ran")
        time.sleep(2)

    @pytest.mark.slow
    def test_a_stubborn_script_is_killed_after_its_grace(self, system: LocalBatch, tmp_path: Path) -> None:
        job = self.job(tmp_path, "trap '' TERM; touch up; while :; do sleep 0.1; done", grace=0)
        (job_id,) = self.submit(system, job)
        self.wait_for(job.folder / "up")
        system.cancel([job_id])
        (status,) = self.wait(system, [job_id])
        assert (status.exit_code, status.reason) == (137, "cancelled")

    def test_two_cannot_share_a_state(self, system: LocalBatch, tmp_path: Path) -> None:
        with pytest.raises(SiteError, match="another flashlink process uses this state"):
            open_system(tmp_path / "state")

    def test_the_state_is_private(self, system: LocalBatch, tmp_path: Path) -> None:
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700

    def test_a_folder_that_is_gone_loses_the_job_with_a_reason(self, system: LocalBatch, tmp_path: Path) -> None:
        job = self.job(tmp_path, "true")
        job.script.unlink()
        job.folder.rmdir()
        (status,) = self.wait(system, self.submit(system, job))
        assert status.state is JobState.LOST
        assert "could not be started" in status.reason

    def test_job_ids_are_never_given_twice(self, tmp_path: Path) -> None:
        system = open_system(tmp_path / "state")
        (first,) = self.submit(system, self.job(tmp_path, "true"))
        self.wait(system, [first])
        system.forget([first])
        system.close()
        system = open_system(tmp_path / "state")
        (second,) = self.submit(system, self.job(tmp_path, "true"))
        self.wait(system, [second])
        system.close()
        assert first != second


def test_unknown_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match=r"batch\.options\.colour: the local batch system knows only gpus"):
        LocalBatch(tmp_path, cpus=1, memory=0, pods=1, options={"colour": "red"})


def test_the_entry_point_gives_the_class() -> None:
    assert load("local") is LocalBatch


def test_an_unknown_system_is_told_with_the_known_ones() -> None:
    with pytest.raises(SiteError, match=r"'pbs' is not a batch system that is installed here; there are .*local"):
        load("pbs")
