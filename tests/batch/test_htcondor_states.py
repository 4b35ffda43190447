"""What a job's ClassAd says: HTCondor's job states and hold codes, one row each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flashlink.batch import JobState
from flashlink.batch.htcondor.states import ATTRIBUTES, ENDING_HOLDS, read, status

RAN = {"JobCurrentStartDate": 100, "EnteredCurrentStatus": 200, "LastRemoteHost": "slot1_2@node-7.site.example"}
HELD = {"JobStatus": 5, "EnteredCurrentStatus": 200, "HoldReason": "because"}

FROM_HOLD = {
    "JobStatus": 3,
    "LastJobStatus": 5,
    "LastHoldReason": "because",
    "RemoveReason": "The job attribute PeriodicRemove expression 'x' evaluated to TRUE",
}

TABLE: list[tuple[dict[str, Any], JobState, int | None, str]] = [
    ({"JobStatus": 1}, JobState.QUEUED, None, ""),
    ({"JobStatus": 1, "NumJobStarts": 1}, JobState.QUEUED, None, "it was evicted from its worker and waits"),
    ({"JobStatus": 1, "NumJobStarts": 2, "VacateReason": "draining"}, JobState.QUEUED, None, "draining"),
    ({"JobStatus": 2}, JobState.RUNNING, None, ""),
    ({"JobStatus": 2, "ExitCode": 3}, JobState.RUNNING, None, ""),  # it is known some seconds before the end
    ({"JobStatus": 6}, JobState.RUNNING, None, "its output is on the way"),
    ({"JobStatus": 7}, JobState.RUNNING, None, "suspended by the site"),
    ({"JobStatus": 3, "RemoteHost": "slot1@node"}, JobState.RUNNING, None, "removed"),
    ({"JobStatus": 3, "RemoveReason": "via condor_rm (by user op)"}, JobState.ENDED, 143, "via condor_rm (by user op)"),
    ({**FROM_HOLD, "LastHoldReasonCode": 13}, JobState.ENDED, 143, "held for too long: because"),
    ({**FROM_HOLD, "LastHoldReasonCode": 34}, JobState.ENDED, 137, "because"),
    (
        {**FROM_HOLD, "LastHoldReasonCode": 1, "RemoveReason": "by op"},
        JobState.ENDED,
        143,
        "by op; it had been held: beca",
    ),
    ({**FROM_HOLD, "LastHoldReasonCode": 16, "RemoveReason": "by op"}, JobState.ENDED, 143, "removed: by op"),
    ({**FROM_HOLD, "LastJobStatus": 2, "RemoveReason": "by op"}, JobState.ENDED, 143, "removed: by op"),
    (
        {**FROM_HOLD, "LastJobStatus": 1, "VacateReason": "draining"},
        JobState.ENDED,
        143,
        "evicted from its worker, and not to be started again (requeue): draining",
    ),
    ({"JobStatus": 3, "LastJobStatus": 1, "RemoveReason": "by op"}, JobState.ENDED, 143, "removed: by op"),
    ({"JobStatus": 4, "ExitCode": 0}, JobState.ENDED, 0, ""),
    ({"JobStatus": 4, "ExitCode": 255, "ExitBySignal": False}, JobState.ENDED, 255, ""),
    ({"JobStatus": 4, "ExitBySignal": True, "ExitSignal": 9}, JobState.ENDED, 137, "killed by signal 9"),
    ({"JobStatus": 4, "ExitCode": 256}, JobState.ENDED, 1, ""),  # no failure becomes a success
    ({"JobStatus": 4, "ExitCode": -1}, JobState.ENDED, 255, ""),
    ({"JobStatus": 4}, JobState.ENDED, None, ""),
    ({**HELD, "HoldReasonCode": 16}, JobState.QUEUED, None, "its files are being sent"),
    ({**HELD, "HoldReasonCode": 1}, JobState.HELD, None, "because"),
    ({**HELD, "HoldReasonCode": 3}, JobState.HELD, None, "because"),
    ({**HELD, "HoldReasonCode": 6}, JobState.HELD, None, "because"),
    ({**HELD, "HoldReasonCode": 12}, JobState.HELD, None, "because"),
    ({**HELD, "HoldReasonCode": 13}, JobState.HELD, None, "because"),
    ({**HELD, "HoldReasonCode": 26}, JobState.HELD, None, "because"),
    ({**HELD, "HoldReasonCode": 33}, JobState.ENDED, 137, "because"),
    ({**HELD, "HoldReasonCode": 34}, JobState.ENDED, 137, "because"),
    ({**HELD, "HoldReasonCode": 46}, JobState.ENDED, 143, "because"),
    ({**HELD, "HoldReasonCode": 47, "FlashlinkWalltime": 60}, JobState.ENDED, 143, "ended at its wall time of 60 s"),
    ({**HELD, "HoldReasonCode": 47, "RemoteHost": "slot1@node"}, JobState.RUNNING, None, "because"),
    ({"JobStatus": 5}, JobState.HELD, None, "HTCondor gives no reason"),
    ({"JobStatus": 99}, JobState.QUEUED, None, "status 99"),
    ({}, JobState.QUEUED, None, "status None"),
]


@pytest.mark.parametrize(("ad", "state", "code", "words"), TABLE)
def test_every_state(ad: dict[str, Any], state: JobState, code: int | None, words: str) -> None:
    told = status(ad)
    assert (told.state, told.exit_code) == (state, code)
    assert words in told.reason
    assert bool(told.reason) == bool(words)


def test_an_ended_job_has_never_an_exit_code_of_success_unless_it_was_one() -> None:
    codes = [code for ad, state, code, _ in TABLE if state is JobState.ENDED and ad.get("ExitCode") != 0]
    assert 0 not in codes
    assert all(ENDING_HOLDS.values())


def test_times_and_node() -> None:
    told = status({**RAN, "JobStatus": 4, "ExitCode": 0, "CompletionDate": 190})
    assert (told.started, told.ended, told.node) == (100.0, 190.0, "node-7.site.example")


def test_a_job_that_was_removed_in_the_queue_has_no_start() -> None:
    told = status({"JobStatus": 3, "EnteredCurrentStatus": 200, "CompletionDate": 0})
    assert (told.started, told.ended, told.node) == (None, 200.0, "")


def test_words_of_others_become_one_printable_line() -> None:
    told = status({**HELD, "HoldReasonCode": 13, "HoldReason": "first\nsecond\x1b[31m\t" + "x" * 1000})
    assert told.reason.startswith("first second [31m x")
    assert told.reason.isprintable()
    assert len(told.reason) == 400


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from([*range(-1, 50)]), st.floats(),
    st.text("ab @\n\0\x1b\u2028é", max_size=600),
    st.lists(st.integers()),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*ATTRIBUTES, "Other"]), VALUES))
@example({"JobStatus": 4, "ExitCode": "0"})
@example({"JobStatus": 4, "ExitBySignal": 1, "ExitSignal": float("inf")})
@example({"JobStatus": True, "RemoteHost": 7, "CompletionDate": 1e300, "SUBMIT_Iwd": "a\0b"})
def test_whatever_a_schedd_answers_becomes_a_status_that_can_be_shown(raw: dict[str, Any]) -> None:
    ad = read(raw)
    assert "\0" not in ad.get("SUBMIT_Iwd", "")
    told = status(ad)
    assert told.reason.isprintable()
    assert len(told.reason) < 1000
    assert told.exit_code is None or 0 <= told.exit_code <= 255
    if told.exit_code == 0:
        assert raw["JobStatus"] == 4
        assert int(raw["ExitCode"]) == 0
    for moment in (told.started, told.ended):
        assert moment is None or datetime.fromtimestamp(moment, UTC).year < 10000
