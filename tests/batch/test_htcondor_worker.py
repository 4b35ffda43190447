"""What HTCondor runs on a worker that shares no file system with the plugin, in real bash."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flashlink.batch.htcondor.description import WORKER

STUBBORN = "trap '' TERM; touch up; while :; do sleep 0.1; done"


class Worker:
    """A scratch directory as HTCondor's starter makes it, and the worker script in it."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch

    def start(
        self, script: str, walltime: int = 0, grace: int = 5, ad: str = "", once: bool = False
    ) -> subprocess.Popen[bytes]:
        (self.scratch / "job.sh").write_text(script)
        (self.scratch / ".job.ad").write_text(ad)
        command = ["bash", str(WORKER), "job.sh", str(walltime), str(grace), *(["once"] if once else [])]
        environment = {**os.environ, "_CONDOR_JOB_AD": str(self.scratch / ".job.ad")}
        self.process = subprocess.Popen(
            command, cwd=self.scratch, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
        )
        return self.process

    def wait_for(self, name: str) -> None:
        limit = time.monotonic() + 20
        while not (self.scratch / name).exists():
            assert time.monotonic() < limit
            time.sleep(0.02)

    def end(self) -> str:
        return (self.scratch / "pod" / "end").read_text().strip()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    yield worker
    worker.process.kill()
    subprocess.run(["pkill", "-KILL", "-s", str(worker.process.pid)], check=False)


def test_the_script_gets_a_private_folder_of_its_own_and_its_exit_code_is_the_jobs(worker: Worker) -> None:
    code = worker.start('echo "$FLASHLINK_FOLDER" >"$FLASHLINK_FOLDER/journal"; exit 7').wait(20)
    assert code == 7
    pod = worker.scratch / "pod"
    assert (pod / "journal").read_text().strip() == str(pod)
    assert pod.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in pod.iterdir()) == ["end", "journal", "logs"]
    assert worker.end() == "exited"


def test_a_job_that_was_handed_in_again_waits_until_the_one_before_is_over(worker: Worker) -> None:
    queued = int(time.time()) - 5
    ad = f'Managed = "Schedd"\nManagedManager = ""\nQDate = {queued}\n'
    assert worker.start("date +%s >began; exit 4", grace=2, ad=ad).wait(20) == 4
    assert int((worker.scratch / "began").read_text()) >= queued + 2 + 5


def test_a_job_that_waits_for_the_one_before_ends_when_it_is_told_to(worker: Worker) -> None:
    worker.start("touch up", grace=600, ad=f'QDate = {int(time.time())}\nManaged = "Schedd"\n')
    worker.wait_for("pod/end")
    time.sleep(0.5)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(20) == 143
    assert not (worker.scratch / "up").exists()


@pytest.mark.parametrize(
    "queued",
    [
        "x[$(touch pwned)]",
        "9x[$(touch pwned)]",
        "0 + x[$(touch pwned)]",
        "$(touch pwned)",
        "`touch pwned`",
        "08",
        "",
        "undefined",
        "-1",
    ],
)
def test_nothing_that_a_jobs_ad_says_is_run(worker: Worker, queued: str) -> None:
    ad = f'Managed = "Schedd"\nQDate = {queued}\n'
    assert worker.start("exit 4", grace=0, ad=ad).wait(20) == 4
    assert not (worker.scratch / "pwned").exists()


@pytest.mark.parametrize("queued", ["4102444800", "9" * 19, "9" * 400])
def test_a_date_in_the_future_is_waited_for_no_longer_than_the_grace(worker: Worker, queued: str) -> None:
    """As of a CE whose clock is wrong."""
    began = int(time.time())
    assert worker.start("date +%s >began; exit 4", grace=1, ad=f'Managed = "Schedd"\nQDate = {queued}\n').wait(40) == 4
    assert int((worker.scratch / "began").read_text()) >= began + 1 + 5


def test_words_of_a_user_are_no_attributes_of_the_job(worker: Worker) -> None:
    words = r'"x\nManaged = \"Schedd\"\nQDate = 4102444800"'  # as HTCondor writes a string of several lines
    ad = f'QDate = {int(time.time())}\nWords = {words}\nOldManaged = "Schedd"\nOther = Managed = "Schedd"\n'
    assert worker.start("exit 4", grace=600, ad=ad).wait(20) == 4


@pytest.mark.parametrize("before", ['Managed = "Schedd"', "NumJobStarts = 1", "NumJobStarts = 12"])
def test_a_job_that_may_only_start_once_does_not_start_again(worker: Worker, before: str) -> None:
    assert worker.start("touch up", grace=600, ad=f"QDate = {int(time.time())}\n{before}\n", once=True).wait(20) == 143
    assert not (worker.scratch / "up").exists()
    assert worker.end() == "evicted"
    assert (worker.scratch / "pod" / "logs").is_dir()


@pytest.mark.parametrize("before", ["", 'Managed = "External"', "NumJobStarts = 0", "NumShadowStarts = 2"])
def test_a_job_that_may_only_start_once_starts(worker: Worker, before: str) -> None:
    assert worker.start("exit 4", ad=f"QDate = {int(time.time())}\n{before}\n", once=True).wait(20) == 4
    assert worker.end() == "exited"


def test_a_job_that_may_start_again_does(worker: Worker) -> None:
    assert worker.start("exit 4", ad="NumJobStarts = 1\n").wait(20) == 4


def test_a_job_that_was_handed_in_once_does_not_wait(worker: Worker) -> None:
    ad = f'QDate = {int(time.time())}\nOwner = "lab"\n'
    assert worker.start("exit 4", grace=600, ad=ad).wait(20) == 4


@pytest.mark.parametrize("code", [0, 1, 255])
def test_a_script_that_ends_at_once_is_not_missed(worker: Worker, code: int) -> None:
    assert worker.start(f"exit {code}").wait(20) == code


def test_the_wall_time_ends_it_gently_and_is_no_success(worker: Worker) -> None:
    assert worker.start("trap 'touch bye; exit 0' TERM; while :; do sleep 0.1; done", walltime=1).wait(20) == 143
    assert (worker.scratch / "bye").exists()
    assert worker.end() == "walltime"


@pytest.mark.slow
def test_a_stubborn_script_is_killed_after_its_grace(worker: Worker) -> None:
    assert worker.start(STUBBORN, walltime=1, grace=1).wait(20) == 137
    assert worker.end() == "walltime"


def test_a_script_that_was_killed_is_told_from_one_that_exits_so(worker: Worker) -> None:
    assert worker.start("kill -9 $$").wait(20) == 137
    assert worker.end() == "killed"


def test_an_exit_code_above_128_is_no_kill(worker: Worker) -> None:
    assert worker.start("exit 137").wait(20) == 137
    assert worker.end() == "exited"


def test_sigterm_is_passed_on_and_waited_for(worker: Worker) -> None:
    worker.start("trap 'sleep 0.5; exit 9' TERM; touch up; while :; do sleep 0.1; done", walltime=600)
    worker.wait_for("up")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(20) == 9
    assert worker.end() == "exited"


def test_the_clock_of_the_wall_time_ends_with_the_job(worker: Worker) -> None:
    worker.start("true", walltime=4321).wait(20)
    left = subprocess.run(["pgrep", "-f", "^sleep 4321$"], capture_output=True, text=True, check=False)
    assert left.stdout == ""
