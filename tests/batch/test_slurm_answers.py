"""What real versions of Slurm answered (golden files, made by `record_slurm`), and what is read out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flashlink.batch import Capacity, JobState
from flashlink.batch.slurm import answers
from flashlink.batch.slurm.commands import Answer
from flashlink.batch.slurm.refusals import UnsureError
from flashlink.batch.slurm.submission import number
from flashlink.errors import SiteError

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = sorted(folder.name for folder in GOLDEN.glob("slurm-*"))

QUEUED, HELD, RUNNING, ENDED = JobState.QUEUED, JobState.HELD, JobState.RUNNING, JobState.ENDED

QUEUE = {
    "done": (ENDED, 0),
    "one": (ENDED, 1),
    "most": (ENDED, 255),
    "killed": (ENDED, 137),
    "terminated": (ENDED, 143),
    "timeout": (ENDED, 143),
    "cancelled": (ENDED, 143),
    "cancelled-early": (ENDED, 143),
    "held": (HELD, None),
    "later": (QUEUED, None),
    "big": (QUEUED, None),
    "requeued": (QUEUED, None),
    "running": (RUNNING, None),
    "completing": (RUNNING, None),
}


#: What was recorded before squeue was asked for the column of restarts, and where that stands.
WITHOUT_RESTARTS = ("slurm-20.11", "slurm-22.05", "slurm-24.11")
BEFORE_RESTARTS = 150


def recorded(version: str, name: str) -> Answer:
    status, _, rest = (GOLDEN / version / name).read_text("utf-8").partition("\n")
    errors, _, output = rest.partition("\n--\n")
    if name == "squeue" and version in WITHOUT_RESTARTS:
        rows = (line[:BEFORE_RESTARTS] + " " * 8 + line[BEFORE_RESTARTS:] for line in output.splitlines())
        output = "".join(f"{row}\n" for row in rows)
    return Answer(output, errors, int(status))


def test_versions_are_recorded() -> None:
    assert VERSIONS == ["slurm-20.11", "slurm-22.05", "slurm-24.11", "slurm-26.05"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_queue(version: str) -> None:
    rows = {row.uid: row for row in answers.rows(recorded(version, "squeue"))}
    told = {uid: (row.status.state, row.status.exit_code) for uid, row in rows.items() if uid != "no-folder"}
    assert told == QUEUE
    started = {uid: row.status.node for uid, row in rows.items() if row.status.started is not None}
    assert set(started.values()) - {""} == {"worker"}
    assert started.keys() >= {"done", "running", "timeout"}
    restarts = {uid: row.status.restarts for uid, row in rows.items() if row.status.restarts}
    assert restarts == ({} if version in WITHOUT_RESTARTS else {"requeued": 1})
    timeout = rows["timeout"].status
    assert timeout.reason == "ended at its time limit"
    assert timeout.started is not None
    assert timeout.ended is not None
    assert 60 <= timeout.ended - timeout.started < 120
    assert rows["running"].status.ended is None, "what Slurm expects is not told"


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_a_script_that_slurm_could_not_start(version: str) -> None:
    (row,) = [row for row in answers.rows(recorded(version, "squeue")) if row.uid == "no-folder"]
    assert "could not start it" in row.status.reason


@pytest.mark.parametrize("version", VERSIONS)
def test_the_accounting(version: str) -> None:
    rows = answers.accounted(recorded(version, "sacct"))
    assert rows is not None
    told = {row.uid: row.status for row in rows}
    ended = {uid: status.exit_code for uid, status in told.items() if status.state is ENDED and uid != "no-folder"}
    most = 255 if version == "slurm-26.05" else 127  # what sacct of old versions makes of it
    expected = {uid: code for uid, (state, code) in QUEUE.items() if state is ENDED}
    assert ended == {**expected, "most": most, "completing": 143}
    assert told["cancelled"].reason == "cancelled by user 6174"
    assert {row.folder for row in rows} == {"/", "/nonexistent"}


@pytest.mark.parametrize("version", ["slurm-20.11", "slurm-26.05"])
def test_folders(version: str) -> None:
    folders = answers.places(recorded(version, "places"))
    assert set(folders.values()) == {"/", "/nonexistent"}
    assert len(folders) == 15


@pytest.mark.parametrize("version", VERSIONS)
def test_the_cluster_and_its_totals(version: str) -> None:
    assert answers.cluster_name(recorded(version, "config")) == "lab"
    assert answers.capacity(recorded(version, "sinfo"), ["cpu"], 7) == Capacity(8, 8000 * 2**20, 2, 7)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cpus", "More processors requested than permitted"),
        ("memory", "Memory specification can not be satisfied"),
        ("time", "Requested time limit is invalid"),
        ("partition", "invalid partition specified: nope"),
        ("account", "Invalid account"),
        ("qos", "Invalid qos"),
        ("gpus", "Requested node configuration is not available"),
        ("gres", "Invalid generic resource"),
        ("constraint", "Invalid feature"),
        ("reservation", "Requested reservation is invalid"),
        ("option", "unrecognized option '--nope=1'"),
    ],
)
def test_refusals_are_for_good_and_one_line(version: str, name: str, words: str) -> None:
    with pytest.raises(SiteError, match=words) as caught:
        number(recorded(version, f"sbatch-{name}"))
    assert not caught.value.transient
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, UnsureError)


@pytest.mark.parametrize(
    ("errors", "unsure"),
    [
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", False),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (receive failure)", True),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates", False),
        ("sbatch: error: Batch job submission failed: Slurm temporarily unable to accept job", False),
        ("sbatch: error: Munge encode failed: Failed to access socket", False),
        ("sbatch: fatal: Could not establish a configuration source", False),
        ("sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received", True),
    ],
)
def test_what_may_go_well_later(errors: str, unsure: bool) -> None:
    answer = Answer("", errors, 1)
    with pytest.raises(SiteError) as caught:
        number(answer)
    assert caught.value.transient
    assert isinstance(caught.value, UnsureError) is unsure


@pytest.mark.parametrize("output", ["", "Submitted batch job 7", "-1", "7 8", "\u0667"])
def test_an_answer_that_is_no_job_id_may_have_been_one(output: str) -> None:
    with pytest.raises(SiteError) as caught:
        number(Answer(output, "", 0))
    assert caught.value.transient
    assert isinstance(caught.value, UnsureError)


def test_a_job_id_with_its_cluster() -> None:
    assert number(Answer("7;lab\n", "", 0)) == 7


@pytest.mark.parametrize("text", ["", "slurm_load_jobs error\n", "CLUSTER: lab\n", "\x1b[31mred\n" * 3, "7\n"])
def test_lines_that_are_no_jobs(text: str) -> None:
    assert answers.rows(Answer(text, "", 0)) == []
    assert answers.accounted(Answer(text, "", 0)) == []
    assert answers.places(Answer(text, "", 0)) == {}


@pytest.mark.parametrize("answer", [Answer("", "squeue: error: down", 1), Answer("", "", 124)])
def test_no_answer_is_for_now_only(answer: Answer) -> None:
    for read in (answers.rows, answers.places, answers.accounted, answers.cluster_name):
        with pytest.raises(SiteError) as caught:
            read(answer)
        assert caught.value.transient


def test_a_site_without_accounting() -> None:
    assert answers.accounted(Answer("", "Slurm accounting storage is disabled\n", 1)) is None


def test_nodes_that_are_down_do_not_count() -> None:
    line = "{:128}{:10}{:16}{:256}{:24}"
    nodes = [
        ("n1", "64", "512000", "gpu:a100:4(S:0-1),gpu:v100:1", "idle"),
        ("n1", "64", "512000", "gpu:a100:4(S:0-1),gpu:v100:1", "idle"),
        ("n2", "32", "256000", "(null)", "mixed"),
        ("n3", "32", "256000", "gpu:2", "down*"),
        ("n4", "32", "256000", "gpu:2", "drained"),
    ]
    text = "\n".join(line.format(*node) for node in nodes) + "\n"
    assert answers.capacity(Answer(text, "", 0), [], 5) == Capacity(96, 768000 * 2**20, 5, 5)


def test_a_record() -> None:
    text = "job=7\nexit=3\nstopped=0\nnode=n1\nstarted=100\nended=160\n"
    told = answers.record(text, 7)
    assert told is not None
    assert (told.state, told.exit_code, told.reason, told.node) == (ENDED, 3, "", "n1")
    assert (told.started, told.ended) == (100, 160)
    assert answers.record(text, 8) is None
    assert answers.record("", 7) is None
    assert answers.record("job=7\nexit=", 7) is None
