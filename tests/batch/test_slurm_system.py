"""What SlurmBatch makes of a Slurm that is slow, silent, forgetful or talks nonsense. The Slurm here is a fake."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flashlink.batch import JobSpec, JobState
from flashlink.batch.slurm import SlurmBatch, books, ending, system
from flashlink.errors import SiteError

QUEUED, RUNNING, ENDED, LOST = JobState.QUEUED, JobState.RUNNING, JobState.ENDED, JobState.LOST

#: Each command notes its words, does what a test has put into `<command>.do`, and says what stands in `<command>.says`.
COMMAND = """#!/bin/bash
cd "${0%/*}"; name=${0##*/}
case "$name $*" in squeue*workdir*) name=places ;; esac
echo "$name $*" >>calls
[ ! -e "$name.do" ] || . "./$name.do"
cat "$name.says" 2>/dev/null
cat "$name.errors" >&2 2>/dev/null
exit "$(cat "$name.status" 2>/dev/null || echo 0)"
"""

#: Takes in a job: the next number, and a row in the queue.
TAKE_IN = """
number=$(($(cat number) + 1)); echo $number >number; echo $number >sbatch.says
for word; do case $word in --job-name=*) job=${word#--job-name=} ;; esac; done
printf '%-12s%-16s%-10s%-24s%-24s%-64s%-8s%-128s%-100s\\n' $number PENDING 0:0 N/A N/A n/a 0 $job None >>squeue.says
"""


class FakeSlurm:
    """A folder of commands that answer what a test wants."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("sbatch", "squeue", "sacct", "scancel", "sinfo", "scontrol"):
            (folder / name).write_text(COMMAND)
            (folder / name).chmod(0o700)
        self.put("number", "100")
        self.says("scontrol", "ClusterName = fake\n")
        self.says("sacct", errors="Slurm accounting storage is disabled", status=1)
        self.put("sbatch.do", TAKE_IN)
        self.says("squeue", "")

    @property
    def options(self) -> dict[str, Any]:
        return {"shell": ["env", f"PATH={self.folder}:{os.environ['PATH']}", "bash"]}

    def put(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def says(self, name: str, output: str = "", errors: str = "", status: int = 0) -> None:
        """What a command answers from now on."""
        self.put(f"{name}.says", output)
        self.put(f"{name}.errors", errors)
        self.put(f"{name}.status", str(status))

    def queue(
        self, *rows: tuple[int, str, str], code: str = "0:0", reason: str = "None", restarts: int = 0, node: str = "n1"
    ) -> None:
        """Jobs of number, uid and state in the queue."""
        form = "{:<12}{:16}{:10}{:24}{:24}{:64}{:<8}{:128}{:100}\n"
        lines = [
            form.format(number, state, code, "N/A", "N/A", node, restarts, f"pod.{uid}", reason)
            for number, uid, state in rows
        ]
        self.says("squeue", "".join(lines))

    def accounts(self, *rows: tuple[int, str, str, str]) -> None:
        """Jobs of number, uid, state and exit code in the accounting."""
        lines = [f"{number}|{state}|{code}|1000|2000|n1|pod.{uid}|/shared\n" for number, uid, state, code in rows]
        self.says("sacct", "".join(lines))

    def calls(self, name: str = "") -> list[str]:
        """What was called so far."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(name)]


@pytest.fixture
def slurm(tmp_path: Path) -> FakeSlurm:
    return FakeSlurm(tmp_path / "slurm")


@pytest.fixture
def reopen(tmp_path: Path, slurm: FakeSlurm) -> Iterator[Callable[..., SlurmBatch]]:
    """A plugin's start, after the end of the one before it."""
    made: list[SlurmBatch] = []

    def start(**options: Any) -> SlurmBatch:
        if made:
            made.pop().close()
        made.append(open_system(tmp_path, slurm, **options))
        return made[0]

    yield start
    made.pop().close()


@pytest.fixture
def batch(reopen: Callable[..., SlurmBatch]) -> SlurmBatch:
    return reopen()


@pytest.fixture
def job(tmp_path: Path) -> Callable[[str], JobSpec]:
    def make(uid: str) -> JobSpec:
        folder = tmp_path / uid
        folder.mkdir(exist_ok=True)
        return JobSpec(uid, "pod", folder / "job.sh", folder, grace=5)

    return make


def open_system(tmp_path: Path, slurm: FakeSlurm, **options: Any) -> SlurmBatch:
    return SlurmBatch(tmp_path / "state", cpus=0, memory=0, pods=10, options={**slurm.options, **options})


def only(statuses: dict[str, Any]) -> Any:
    (status,) = statuses.values()
    return status


class TestSubmission:
    def test_many_jobs_take_few_shells_and_one_look_at_the_queue(self, batch, slurm, job) -> None:
        ids = batch.submit([job(f"uid-{number}") for number in range(45)])
        assert ids == [f"slurm:fake:{number}" for number in range(101, 146)]
        assert len(slurm.calls("sbatch")) == 45
        assert len(slurm.calls("squeue")) == 1

    def test_a_job_that_is_in_the_queue_already_is_not_submitted_again(self, batch, slurm, job) -> None:
        slurm.queue((55, "uid-1", "RUNNING"))
        assert batch.submit([job("uid-1")]) == ["slurm:fake:55"]
        assert slurm.calls("sbatch") == []

    def test_a_submission_whose_answer_was_lost_is_waited_for(self, batch, slurm, job, monkeypatch) -> None:
        slurm.says("sbatch", errors="sbatch: error: Batch job submission failed: Socket timed out", status=1)
        slurm.put("sbatch.do", "")
        (error,) = batch.submit([job("uid-1")])
        assert error.transient
        (again,) = batch.submit([job("uid-1")])
        assert "its answer was lost" in str(again)
        assert len(slurm.calls("sbatch")) == 1
        with pytest.raises(SiteError, match="about to take in") as caught:
            batch.find(["uid-1"])
        assert caught.value.transient
        slurm.queue((77, "uid-1", "PENDING"))
        assert batch.find(["uid-1"]) == {"uid-1": "slurm:fake:77"}
        assert batch.submit([job("uid-1")]) == ["slurm:fake:77"]
        assert len(slurm.calls("sbatch")) == 1

    def test_one_that_does_not_arrive_is_submitted_anew(self, batch, slurm, job, monkeypatch) -> None:
        slurm.says("sbatch", errors="sbatch: error: Zero Bytes were transmitted or received", status=1)
        slurm.put("sbatch.do", "")
        batch.submit([job("uid-1")])
        monkeypatch.setattr(system, "ARRIVES", 0.0)
        slurm.says("sbatch", "")
        slurm.put("sbatch.do", TAKE_IN)
        assert batch.submit([job("uid-1")]) == ["slurm:fake:101"]

    def test_a_plain_no_for_now_can_be_tried_again_at_once(self, batch, slurm, job) -> None:
        slurm.says("sbatch", errors="sbatch: error: Unable to contact slurm controller (connect failure)", status=1)
        slurm.put("sbatch.do", "")
        (error,) = batch.submit([job("uid-1")])
        assert error.transient
        assert batch.find(["uid-1"]) == {}
        slurm.says("sbatch", "")
        slurm.put("sbatch.do", TAKE_IN)
        assert batch.submit([job("uid-1")]) == ["slurm:fake:101"]

    def test_a_shell_that_dies_leaves_all_of_its_jobs_unsure(self, batch, slurm, job) -> None:
        slurm.put("sbatch.do", TAKE_IN + "if [ $number = 102 ]; then kill -9 -- -$(ps -o sid= -p $$ | tr -d ' '); fi")
        with pytest.raises(SiteError) as caught:
            batch.submit([job("uid-1"), job("uid-2"), job("uid-3")])
        assert caught.value.transient
        with pytest.raises(SiteError):
            batch.find(["uid-1", "uid-2", "uid-3"])
        assert batch.find(["uid-1", "uid-2"]) == {"uid-1": "slurm:fake:101", "uid-2": "slurm:fake:102"}

    def test_a_hanging_sbatch_may_have_gone_through(self, reopen, slurm, job) -> None:
        slow = reopen(command_seconds=1)
        slurm.put("sbatch.do", TAKE_IN + "sleep 60")
        (error,) = slow.submit([job("uid-1")])
        assert "no answer in time" in str(error)
        assert slow.submit([job("uid-1")]) == ["slurm:fake:101"]
        assert len(slurm.calls("sbatch")) == 1


class TestForgotten:
    """A controller that is killed forgets what it had not saved, and gives the numbers again."""

    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch) -> None:
        monkeypatch.setattr(system, "MISSED", 0.0)

    def forget(self, slurm, booted: float) -> None:
        slurm.says("scontrol", f"ClusterName = fake\nBOOT_TIME = {int(booted)}\n")
        slurm.says("squeue", "")
        slurm.put("number", "100")

    def write(self, spec: JobSpec) -> JobSpec:
        spec.script.write_text("true\n")
        return spec

    def test_a_job_that_never_began_is_submitted_again(self, batch, slurm, job) -> None:
        spec = self.write(job("uid-1"))
        (job_id,) = batch.submit([spec])
        self.forget(slurm, time.time() + 1)
        assert only(batch.query([job_id])).state is JobState.FORGOTTEN
        assert batch.submit([spec]) == [job_id]  # a new job, with the number of the old one
        assert len(slurm.calls("sbatch")) == 2
        assert only(batch.query([job_id])).state is QUEUED

    def test_one_that_began_is_not(self, batch, slurm, job) -> None:
        spec = self.write(job("uid-1"))
        (job_id,) = batch.submit([spec])
        self.forget(slurm, time.time() + 1)
        (spec.folder / "slurm").mkdir()
        (spec.folder / "slurm" / "claim").symlink_to("101")
        assert only(batch.query([job_id])).state is QUEUED
        assert batch.submit([spec]) == [job_id]
        assert len(slurm.calls("sbatch")) == 1

    @pytest.mark.parametrize("after", [-100, 100])
    def test_one_that_a_controller_had_time_to_save_is_not(self, batch, slurm, job, after: float) -> None:
        (job_id,) = batch.submit([self.write(job("uid-1"))])
        self.forget(slurm, time.time() + after)
        assert only(batch.query([job_id])).state is QUEUED

    def test_a_number_that_another_pod_has_got_is_that_ones_alone(self, batch, slurm, job) -> None:
        first, second = self.write(job("uid-1")), self.write(job("uid-2"))
        (job_id,) = batch.submit([first])
        self.forget(slurm, time.time() + 1)
        assert batch.submit([second]) == [job_id]
        assert batch.submit([first]) == ["slurm:fake:102"]
        assert batch.find(["uid-1", "uid-2"]) == {"uid-1": "slurm:fake:102", "uid-2": job_id}


class TestQuery:
    def test_one_question_whatever_the_number_of_jobs(self, batch, slurm, job) -> None:
        ids = batch.submit([job(f"uid-{number}") for number in range(30)])
        before = len(slurm.calls())
        found = batch.query(ids)
        assert {status.state for status in found.values()} == {QUEUED}
        assert [call.split()[0] for call in slurm.calls()[before:]] == ["squeue"]

    @pytest.mark.parametrize("errors", ["squeue: error: Unable to contact slurm controller", "Segmentation fault", ""])
    def test_no_answer_loses_no_job(self, batch, slurm, job, errors) -> None:
        ids = batch.submit([job("uid-1")])
        slurm.says("squeue", errors=errors, status=1)
        with pytest.raises(SiteError) as caught:
            batch.query(ids)
        assert caught.value.transient

    def test_a_job_whose_end_the_accounting_does_not_know_yet(self, batch, slurm, job, monkeypatch) -> None:
        monkeypatch.setattr(system, "PATIENCE", 3600.0)
        ids = batch.submit([job("uid-1")])
        slurm.queue((101, "uid-1", "RUNNING"))
        assert only(batch.query(ids)).state is RUNNING
        slurm.queue()
        slurm.accounts((101, "uid-1", "RUNNING", "0:0"))
        told = only(batch.query(ids))
        assert (told.state, told.reason) == (RUNNING, "it has left Slurm's queue; its end is not known yet")
        slurm.accounts()
        assert only(batch.query(ids)).state is RUNNING
        slurm.accounts((101, "uid-1", "FAILED", "3:0"))
        told = only(batch.query(ids))
        assert (told.state, told.exit_code, told.node, told.started, told.ended) == (ENDED, 3, "n1", 1000, 2000)

    def test_an_end_is_told_for_ever_without_asking_again(self, batch, slurm, job) -> None:
        ids = batch.submit([job("uid-1")])
        slurm.queue((101, "uid-1", "FAILED"), code="3:0")
        told = batch.query(ids)
        before = len(slurm.calls())
        slurm.queue()
        assert batch.query(ids) == told
        assert len(slurm.calls()) == before

    def test_nobody_knows_it_any_more(self, batch, slurm, job, monkeypatch) -> None:
        ids = batch.submit([job("uid-1")])
        slurm.queue()
        slurm.accounts()
        assert only(batch.query(ids)).state is QUEUED
        monkeypatch.setattr(system, "PATIENCE", 0.0)
        told = only(batch.query(ids))
        assert told.state is LOST
        assert "left no record" in told.reason

    def test_an_accounting_that_does_not_answer_loses_no_job(self, batch, slurm, job, monkeypatch) -> None:
        monkeypatch.setattr(system, "PATIENCE", 0.0)
        ids = batch.submit([job("uid-1")])
        slurm.queue()
        slurm.says("sacct", errors="sacct: error: slurm_persist_conn_open: Connection refused", status=1)
        told = only(batch.query(ids))
        assert told.state is QUEUED
        assert "Connection refused" in told.reason
        assert only(batch.query(["slurm:fake:999"])).state is not LOST

    def test_without_accounting_the_jobs_own_record_tells(self, batch, slurm, job) -> None:
        spec = job("uid-1")
        ids = batch.submit([spec])
        slurm.queue()
        (spec.folder / "slurm").mkdir()
        (spec.folder / "slurm" / "end").write_text("job=101\nexit=4\nstopped=0\nnode=n7\nstarted=1\nended=2\n")
        told = only(batch.query(ids))
        assert (told.state, told.exit_code, told.node) == (ENDED, 4, "n7")

    def test_the_record_has_the_exit_code_and_the_accounting_the_cause(self, batch, slurm, job) -> None:
        spec = job("uid-1")
        ids = batch.submit([spec])
        slurm.queue()
        slurm.accounts((101, "uid-1", "TIMEOUT", "0:0"))
        (spec.folder / "slurm").mkdir()
        (spec.folder / "slurm" / "end").write_text("job=101\nexit=255\n")
        told = only(batch.query(ids))
        assert (told.exit_code, told.reason) == (255, "ended at its time limit")

    def test_a_number_that_slurm_gave_to_another_job(self, batch, slurm, job, monkeypatch) -> None:
        monkeypatch.setattr(system, "PATIENCE", 0.0)
        ids = batch.submit([job("uid-1")])
        slurm.queue((101, "somebody-else", "RUNNING"))
        slurm.accounts((101, "somebody-else", "COMPLETED", "0:0"))
        assert only(batch.query(ids)).state is LOST

    def test_jobs_outlive_the_plugin(self, batch, slurm, job, reopen) -> None:
        spec = job("uid-1")
        ids = batch.submit([spec])
        (spec.folder / "slurm").mkdir()
        (spec.folder / "slurm" / "end").write_text("job=101\nexit=4\n")
        slurm.queue()
        later = reopen()
        assert only(later.query(ids)).exit_code == 4
        assert later.find(["uid-1"]) == {"uid-1": ids[0]}

    def test_jobs_of_another_cluster_are_forgotten(self, batch, slurm, job, reopen) -> None:
        (job_id,) = batch.submit([job("uid-1")])
        slurm.says("scontrol", "ClusterName = new\n")
        slurm.queue()
        later = reopen()
        assert only(later.query([job_id])).state is LOST
        assert later.find(["uid-1"]) == {}


class TestQueuedAgain:
    def nodes(self, slurm: FakeSlurm, state: str) -> None:
        slurm.says("sinfo", "{:128}{:10}{:16}{:256}{:24}\n".format("n1", "64", "1024", "gpu:4", state))

    @pytest.mark.parametrize("state", ["down", "down*", "idle*", "fail"])
    def test_a_node_that_failed_is_told_and_asked_about_once_a_time(self, batch, slurm, job, state) -> None:
        ids = batch.submit([job("uid-1")])
        slurm.queue((101, "uid-1", "RUNNING"))
        batch.query(ids)
        self.nodes(slurm, state)
        slurm.queue((101, "uid-1", "PENDING"), reason="BeginTime", restarts=1, node="n/a")
        told = [only(batch.query(ids)) for _ in range(3)][-1]
        assert (told.state, told.restarts) == (QUEUED, 1)
        assert told.reason == (
            "its node n1 failed; Slurm has queued it again: its time to start has not come (BeginTime)"
        )
        (call,) = slurm.calls("sinfo")
        assert "--nodes=n1 " in call
        slurm.queue((101, "uid-1", "RUNNING"), restarts=1)
        assert only(batch.query(ids)).reason == ""
        slurm.queue((101, "uid-1", "PENDING"), restarts=2, node="n/a")
        batch.query(ids)
        assert len(slurm.calls("sinfo")) == 2

    @pytest.mark.parametrize("state", ["idle", "mixed", "drained", ""])
    def test_a_node_that_did_not_is_not(self, batch, slurm, job, state) -> None:
        ids = batch.submit([job("uid-1")])
        slurm.queue((101, "uid-1", "RUNNING"))
        batch.query(ids)
        self.nodes(slurm, state)
        if not state:
            slurm.says("sinfo", errors="sinfo: error: Unable to contact slurm controller", status=1)
        slurm.queue((101, "uid-1", "PENDING"), reason="Resources", restarts=1, node="n/a")
        assert only(batch.query(ids)).reason == "Slurm has queued it again: waits for free resources (Resources)"


class TestFind:
    def test_a_plugin_that_lost_everything_finds_its_jobs(self, batch, slurm) -> None:
        slurm.queue((55, "uid-1", "RUNNING"), (56, "uid-2", "COMPLETED"))
        slurm.says("places", f"{55:<12}{'pod.uid-1':128}{'/shared/uid-1':1024}\n")
        slurm.accounts((44, "uid-3", "COMPLETED", "0:0"))
        assert batch.find(["uid-1", "uid-2", "uid-3", "uid-4"]) == {
            "uid-1": "slurm:fake:55",
            "uid-2": "slurm:fake:56",
            "uid-3": "slurm:fake:44",
        }

    def test_what_the_accounting_could_not_tell_is_not_unknown(self, batch, slurm) -> None:
        slurm.says("sacct", errors="sacct: error: Problem talking to the database", status=1)
        with pytest.raises(SiteError) as caught:
            batch.find(["uid-1"])
        assert caught.value.transient


class TestCancel:
    def test_running_jobs_get_sigterm_and_waiting_ones_leave_the_queue(self, batch, slurm, job) -> None:
        ids = batch.submit([job(f"uid-{number}") for number in range(1, 5)])
        slurm.queue(
            (101, "uid-1", "RUNNING"),
            (102, "uid-2", "PENDING"),
            (103, "uid-3", "CONFIGURING"),
            (104, "uid-4", "FAILED"),
        )
        batch.cancel(ids, grace=3)
        assert slurm.calls("scancel") == ["scancel --batch --signal=TERM 101", "scancel 102 103"]

    def test_its_grace_lies_in_the_jobs_folder(self, batch, slurm, job) -> None:
        spec = job("uid-1")
        ids = batch.submit([spec])
        slurm.queue((101, "uid-1", "RUNNING"))
        batch.cancel(ids)
        assert not (spec.folder / "slurm").exists()
        batch.cancel(ids, grace=3)
        assert (spec.folder / "grace").read_text() == "3\n"

    def test_what_runs_on_is_ended_by_slurm(self, batch, slurm, job, monkeypatch) -> None:
        ids = batch.submit([job("uid-1")])
        slurm.queue((101, "uid-1", "RUNNING"))
        monkeypatch.setattr(ending, "MARGIN", -1.0)
        batch.cancel(ids, grace=0)
        batch.query(ids)
        assert slurm.calls("scancel") == ["scancel --batch --signal=TERM 101", "scancel 101"]
        slurm.queue((101, "uid-1", "CANCELLED"), code="0:15")
        told = only(batch.query(ids))
        assert (told.state, told.exit_code, told.reason) == (ENDED, 143, "cancelled")

    def test_a_pods_second_job_ends_with_the_first(self, batch, slurm, job) -> None:
        ids = batch.submit([job("uid-1")])
        slurm.queue((101, "uid-1", "RUNNING"), (90, "uid-1", "PENDING"))
        batch.cancel(ids)
        assert slurm.calls("scancel") == ["scancel --batch --signal=TERM 101", "scancel 90"]

    def test_of_two_jobs_of_a_pod_the_first_counts(self, batch, slurm, job) -> None:
        ids = batch.submit([job("uid-1")])
        slurm.queue((101, "uid-1", "FAILED"), (90, "uid-1", "RUNNING"), code="1:0")
        assert only(batch.query(ids)).state is RUNNING

    def test_unknown_jobs_are_no_error_but_silence_is(self, batch, slurm, job) -> None:
        ids = batch.submit([job("uid-1")])
        slurm.says("scancel", errors="scancel: error: Kill job error on job id 101: Invalid job id specified", status=1)
        batch.cancel(ids)
        slurm.says("scancel", errors="scancel: error: Unable to contact slurm controller", status=1)
        with pytest.raises(SiteError) as caught:
            batch.cancel(ids)
        assert caught.value.transient


class TestState:
    def test_two_cannot_share_it(self, batch, slurm, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(books, "_LOCK_SECONDS", 0.0)
        with pytest.raises(SiteError, match="another flashlink process uses this state"):
            open_system(tmp_path, slurm)

    def test_it_is_private(self, batch, tmp_path) -> None:
        for path in [tmp_path / "state", *(tmp_path / "state").iterdir()]:
            assert path.stat().st_mode & 0o077 == 0

    def test_after_a_kill_a_submission_under_way_is_waited_for(self, slurm, tmp_path, job, reopen) -> None:
        spec = job("uid-1")
        slurm.put("sbatch.do", "touch begun; sleep 1;" + TAKE_IN)
        program = (
            "import sys; from pathlib import Path; from flashlink.batch import JobSpec\n"
            "from flashlink.batch.slurm import SlurmBatch\n"
            f"state, options = Path({str(tmp_path / 'state')!r}), {slurm.options}\n"
            "system = SlurmBatch(state, cpus=0, memory=0, pods=1, options=options)\n"
            f"folder = Path({str(spec.folder)!r})\n"
            "system.submit([JobSpec('uid-1', 'pod', folder / 'job.sh', folder)])\n"
        )
        plugin = subprocess.Popen([sys.executable, "-c", program])
        limit = time.monotonic() + 20
        while not (slurm.folder / "begun").exists():
            assert time.monotonic() < limit
            time.sleep(0.02)
        plugin.send_signal(signal.SIGKILL)
        plugin.wait()
        later = reopen()
        assert later.find(["uid-1"]) == {"uid-1": "slurm:fake:101"}
        assert later.submit([spec]) == ["slurm:fake:101"]
        assert len(slurm.calls("sbatch")) == 1


def test_totals_that_the_site_tells_stand_over_slurms(tmp_path: Path, slurm: FakeSlurm) -> None:
    slurm.says("sinfo", "{:128}{:10}{:16}{:256}{:24}\n".format("n1", "64", "1024", "gpu:4", "idle"))
    options = {**slurm.options, "partition": "b", "flavours": [{"name": "x", "partition": "a,b"}]}
    batch = SlurmBatch(tmp_path / "state", cpus=10, memory=0, pods=3, options=options)
    told = batch.capacity()
    assert (told.cpus, told.memory, told.gpus, told.jobs) == (10, 2**30, 4, 3)
    assert "--partition=a,b " in slurm.calls("sinfo")[0]
    batch.close()
