"""Slurm's words and what they are to flashlink: one table each."""

from __future__ import annotations

import pytest

from flashlink.batch import JobState, JobStatus
from flashlink.batch.slurm.states import REASONS, STATES, exit_code, status

QUEUED, HELD, RUNNING, ENDED = JobState.QUEUED, JobState.HELD, JobState.RUNNING, JobState.ENDED

#: Slurm's job_state_codes.html, squeue(1) and sacct(1): the short code, and what the pod is told.
DOCUMENTED = {
    "BOOT_FAIL": ("BF", ENDED),
    "CANCELLED": ("CA", ENDED),
    "COMPLETED": ("CD", ENDED),
    "COMPLETING": ("CG", RUNNING),
    "CONFIGURING": ("CF", QUEUED),
    "DEADLINE": ("DL", ENDED),
    "EXPEDITING": ("EX", QUEUED),
    "FAILED": ("F", ENDED),
    "LAUNCH_FAILED": ("LF", QUEUED),
    "NODE_FAIL": ("NF", ENDED),
    "OUT_OF_MEMORY": ("OOM", ENDED),
    "PENDING": ("PD", QUEUED),
    "POWER_UP_NODE": ("PU", QUEUED),
    "PREEMPTED": ("PR", ENDED),
    "RECONFIG_FAIL": ("RE", QUEUED),
    "REQUEUED": ("RQ", QUEUED),
    "REQUEUE_FED": ("RF", QUEUED),
    "REQUEUE_HOLD": ("RH", HELD),
    "RESIZING": ("RS", RUNNING),
    "RESV_DEL_HOLD": ("RD", HELD),
    "REVOKED": ("RV", ENDED),
    "RUNNING": ("R", RUNNING),
    "SIGNALING": ("SI", RUNNING),
    "SPECIAL_EXIT": ("SE", HELD),
    "STAGE_OUT": ("SO", RUNNING),
    "STOPPED": ("ST", RUNNING),
    "SUSPENDED": ("S", RUNNING),
    "TIMEOUT": ("TO", ENDED),
    "UPDATE_DB": ("UD", RUNNING),
}


def test_every_documented_state_is_in_the_table() -> None:
    assert {name: (row.code, row.state) for name, row in STATES.items()} == DOCUMENTED


@pytest.mark.parametrize("name", DOCUMENTED)
def test_only_what_completed_with_zero_is_a_success(name: str) -> None:
    told = status(name, "0:0", "None")
    assert told.state is DOCUMENTED[name][1]
    if told.state is ENDED:
        assert (told.exit_code == 0) == (name == "COMPLETED")
        assert told.reason or name in ("COMPLETED", "FAILED")


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        ("COMPLETED", "0:0", 0),
        ("FAILED", "3:0", 3),
        ("FAILED", "255:0", 255),
        ("FAILED", "65280", 255),  # as wait(2) has it, in squeue of old versions
        ("FAILED", "256", 1),
        ("FAILED", "9", 137),
        ("FAILED", "0:9", 137),
        ("FAILED", "0:0", 1),
        ("CANCELLED by 1000", "0:0", 143),
        ("CANCELLED+", "0:15", 143),
        ("CANCELLED", "7:0", 7),
        ("TIMEOUT", "0:0", 143),
        ("OUT_OF_MEMORY", "0:125", 137),
        ("NODE_FAIL", "0:0", 137),
        ("NODE_FAIL", "0:1", 137),  # squeue's
        ("NODE_FAIL", "1:0", 137),  # the accounting's
        ("PREEMPTED", "0:15", 143),
        ("DEADLINE", "0:0", 143),
        ("FAILED", "", 1),
    ],
)
def test_exit_codes_of_ended_jobs(state: str, code: str, expected: int) -> None:
    told = status(state, code, "None")
    assert (told.state, told.exit_code) == (ENDED, expected)


def test_a_job_that_is_completing_has_its_exit_code_but_has_not_ended() -> None:
    assert status("COMPLETING", "7:0", "None") == JobStatus(RUNNING, 7, "it is ending")
    assert status("COMPLETING", "0:0", "None").exit_code is None, "0 is also what a cancelled job has at first"


@pytest.mark.parametrize("code", ["", "x", "1:x", ":", "-1:0", "1:0:0", "²"])
def test_what_is_no_exit_code(code: str) -> None:
    assert exit_code(code) is None


def test_a_state_of_a_later_version_is_not_final() -> None:
    told = status("TELEPORTED", "0:0", "None")
    assert told.state is RUNNING
    assert "TELEPORTED" in told.reason


@pytest.mark.parametrize(
    ("reason", "state", "words"),
    [
        ("None", QUEUED, "not considered by the scheduler yet"),
        ("Resources", QUEUED, "waits for free resources (Resources)"),
        ("(Priority)", QUEUED, "jobs of higher priority are before it (Priority)"),
        ("QOSMaxJobsPerUserLimit", QUEUED, "its QOS is at its limit (QOSMaxJobsPerUserLimit)"),
        ("QOSMaxWallDurationPerJobLimit", HELD, "it asks for more than its QOS gives a job"),
        ("AssocGrpCpuLimit", QUEUED, "its association is at its limit"),
        ("AssocMaxNodePerJobLimit", HELD, "it asks for more than its association may"),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-3]", QUEUED, "nodes that it needs are not available"),
        ("Nodes required for job are DOWN, DRAINED or reserved for jobs", QUEUED, "nodes that it needs are down, or"),
        ("JobHeldAdmin", HELD, "held by an administrator"),
        ("launch failed requeued held", HELD, "held because it could not be started"),
        ("BadConstraints", HELD, "no node can ever satisfy what it asks for"),
        ("SomethingNew", QUEUED, "SomethingNew"),
    ],
)
def test_why_a_job_waits(reason: str, state: JobState, words: str) -> None:
    told = status("PENDING", "0:0", reason)
    assert told.state is state
    assert told.reason.startswith(words)


def test_every_reason_leaves_the_job_in_the_queue() -> None:
    assert {state for state, _ in REASONS.values()} == {QUEUED, HELD}


def test_a_script_that_could_not_be_started_is_told_as_such() -> None:
    assert "could not start it" in status("FAILED", "0:53", "RaisedSignal:53(Real-time signal 19)").reason
    assert "could not start it" in status("FAILED", "4021", "JobLaunchFailure").reason
