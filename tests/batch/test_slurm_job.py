"""What Slurm starts, without Slurm: bash runs it as slurmstepd would."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from flashlink.batch import JobState, JobStatus
from flashlink.batch.slurm import answers
from flashlink.batch.slurm.submission import batch_script


class Job:
    """A folder with a script, and the jobs that Slurm makes of it."""

    def __init__(self, folder: Path, script: str, prologue: str = "") -> None:
        self.folder = folder
        self.folder.mkdir()
        (folder / "job.sh").write_text(script)
        self.batch = folder.parent / f"{folder.name}-slurm_script"
        self.batch.write_text(batch_script([prologue] if prologue else []))

    def start(self, number: int = 7, grace: int = 60, restarts: int = 0) -> subprocess.Popen[bytes]:
        words = [str(self.folder / "job.sh"), str(self.folder), f"uid-{self.folder.name}", str(grace)]
        with (self.folder / "job.log").open("ab") as log:
            return subprocess.Popen(
                ["bash", self.batch, *words],
                env={
                    "PATH": os.environ["PATH"],
                    "SLURM_JOB_ID": str(number),
                    "SLURMD_NODENAME": "n1",
                    **({"SLURM_RESTART_COUNT": str(restarts)} if restarts else {}),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(self, number: int = 7, grace: int = 60, restarts: int = 0) -> int:
        return self.start(number, grace, restarts).wait(30)

    @property
    def log(self) -> str:
        return (self.folder / "job.log").read_text()

    def end(self, number: int = 7) -> JobStatus | None:
        path = self.folder / "slurm" / "end"
        return answers.record(path.read_text(), number) if path.exists() else None


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    return lambda script, prologue="": Job(tmp_path / "pod", script, prologue)


def wait_for(path: Path) -> None:
    limit = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_the_script_runs_in_its_folder_and_leaves_a_record(job: Callable[..., Job]) -> None:
    made = job('echo "$PWD $FLASHLINK_POD"; umask; exit 3')
    before = int(time.time())
    assert made.run() == 3
    assert made.log == f"{made.folder} uid-pod\n0077\n"
    told = made.end()
    assert told is not None
    assert (told.state, told.exit_code, told.reason, told.node) == (JobState.ENDED, 3, "", "n1")
    assert told.started is not None
    assert told.ended is not None
    assert before <= told.started <= told.ended


def test_the_prologue_prepares_the_environment(job: Callable[..., Job]) -> None:
    made = job('echo "$MODULE"; pwd', "set -eu; cd /; export MODULE=apptainer; shopt -s extglob; false || true")
    assert made.run() == 0
    assert made.log == f"apptainer\n{made.folder}\n"


def test_of_two_jobs_for_one_pod_one_runs(job: Callable[..., Job]) -> None:
    made = job("echo ran; sleep 0.5")
    first, second = made.start(7), made.start(8)
    codes = {first.wait(30), second.wait(30)}
    assert codes == {0, 1}
    assert made.log.count("ran\n") == 1
    assert made.log.count("flashlink: this pod runs as job") == 1


def test_a_requeued_job_runs_again(job: Callable[..., Job]) -> None:
    made = job("echo ran")
    assert made.run(7) == 0
    assert made.run(7, restarts=1) == 0
    assert made.log == "ran\nran\n"
    assert made.run(8) == 1
    assert made.run(8, restarts=1) == 1


def test_another_job_that_got_the_same_number_leaves_the_pod_alone(job: Callable[..., Job]) -> None:
    made = job("echo ran")
    assert made.run(7) == 0
    assert made.run(7) == 1
    assert made.log.count("ran\n") == 1


def test_sigterm_reaches_the_script_and_a_clean_end_is_no_success(job: Callable[..., Job]) -> None:
    made = job("trap 'echo bye; exit 0' TERM; touch up; while :; do sleep 0.1; done")
    process = made.start()
    wait_for(made.folder / "up")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert "bye\n" in made.log
    told = made.end()
    assert told is not None
    assert (told.exit_code, told.reason) == (143, "ended by SIGTERM: cancelled, or at its time limit")


def test_sigterm_to_all_at_once_as_slurm_sends_it(job: Callable[..., Job]) -> None:
    made = job("trap 'echo bye; exit 5' TERM; touch up; while :; do sleep 0.1; done")
    process = made.start()
    wait_for(made.folder / "up")
    script = int(subprocess.check_output(["pgrep", "-P", str(process.pid), "-f", "job.sh"]).split()[0])
    for pid in (process.pid, script):
        with suppress(ProcessLookupError):  # on a slow machine the first has passed it on by then
            os.kill(pid, signal.SIGTERM)
    assert process.wait(30) == 5


@pytest.mark.parametrize("signals", [(signal.SIGTSTP, signal.SIGSTOP), (signal.SIGSTOP,)], ids=["slurm", "stop"])
def test_a_job_that_is_suspended_goes_on(job: Callable[..., Job], signals: tuple[signal.Signals, ...]) -> None:
    made = job("touch up; for each in 1 2 3 4; do sleep 0.5; done; echo on; exit 3")
    process = made.start()
    wait_for(made.folder / "up")
    script = int(subprocess.check_output(["pgrep", "-P", str(process.pid), "-f", "job.sh"]).split()[0])
    for each in (*signals, signal.SIGCONT):
        os.killpg(script, each)
        time.sleep(0.2)  # the outer one sees that
        os.kill(process.pid, each)
        time.sleep(0.2)
    assert process.wait(30) == 3
    assert made.log == "on\n"


@pytest.mark.slow
def test_what_does_not_listen_is_killed_after_the_grace_of_the_cancel(job: Callable[..., Job]) -> None:
    made = job("trap '' TERM; touch up; while :; do sleep 0.1; done")
    process = made.start(grace=600)
    wait_for(made.folder / "up")
    (made.folder / "grace").write_text("0\n")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 137


def test_nothing_is_left(job: Callable[..., Job]) -> None:
    made = job("sleep 300 & echo $! >left; setsid sleep 300 & echo $! >>left; sleep 0.2; exit 4")
    assert made.run() == 4
    limit = time.monotonic() + 10
    for pid in (made.folder / "left").read_text().split():
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1]:
            assert time.monotonic() < limit
            time.sleep(0.02)


def test_a_killed_script_is_told_by_its_signal(job: Callable[..., Job]) -> None:
    made = job("kill -KILL $$")
    assert made.run() == 137
    told = made.end()
    assert told is not None
    assert told.exit_code == 137
