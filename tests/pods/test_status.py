from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashlink.pods.status import ContainerState, Outline, Phase, complete, is_final, pod_status, timestamp

POD = Outline("uid", "demo", "default", ("a", "b"), ("c", "d"))
DONE = ContainerState(Phase.TERMINATED, started=1.0, ended=2.0)
FAILED = ContainerState(Phase.TERMINATED, exit_code=3, started=1.0, ended=2.0)
GOES = ContainerState(Phase.RUNNING, started=1.0)

states = st.builds(
    ContainerState,
    phase=st.sampled_from(Phase),
    reason=st.sampled_from(["", "Word"]),
    message=st.text(max_size=5),
    exit_code=st.integers(0, 255),
    started=st.none() | st.floats(0, 4e9),
    ended=st.none() | st.floats(0, 4e9),
    restarts=st.integers(0, 3),
)


@given(
    st.dictionaries(st.sampled_from("abcdx"), states),
    st.frozensets(st.sampled_from("abcd")),
)
def test_every_container_has_one_entry_that_the_kubelet_can_read(known, away):
    pod = Outline("uid", "demo", "default", ("a", "b"), ("c", "d"), away)
    told = msgspec.json.decode(msgspec.json.encode(pod_status(pod, "jid", known)))
    assert [entry["name"] for entry in told["initContainers"]] == ["a", "b"]
    assert [entry["name"] for entry in told["containers"]] == ["c", "d"]
    for entry in (*told["initContainers"], *told["containers"]):
        ((kind, state),) = entry["state"].items()
        assert (kind == "running") == entry["ready"]
        assert kind != "terminated" or isinstance(state["exitCode"], int)
        assert kind != "waiting" or state["reason"]
        for key in ("startedAt", "finishedAt"):
            assert state.get(key) is None or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", state[key])


def test_failed_init_container_ends_all_later_ones_and_no_earlier_one():
    told = complete(POD, {"a": DONE, "b": FAILED})
    assert told["a"] == DONE
    assert told["b"] == FAILED
    for name in ("c", "d"):
        assert told[name].message == "not started: init container b failed"
        assert told[name].exit_code == 3
    assert is_final(POD, {"a": DONE, "b": FAILED})


def test_a_failed_container_ends_nobody_else():
    told = complete(POD, {"a": DONE, "b": DONE, "c": FAILED, "d": GOES})
    assert told["d"] == GOES
    assert not is_final(POD, told)


@pytest.mark.parametrize(
    ("known", "init", "main"),
    [
        ({}, Phase.RUNNING, Phase.RUNNING),
        ({"b": DONE}, Phase.RUNNING, Phase.RUNNING),
        ({"b": DONE, "c": GOES}, Phase.TERMINATED, Phase.RUNNING),
        ({"b": DONE, "c": FAILED}, Phase.TERMINATED, Phase.TERMINATED),
        ({"b": FAILED}, Phase.TERMINATED, Phase.TERMINATED),
    ],
)
def test_containers_of_the_cluster_go_with_ours(known, init, main):
    pod = Outline("uid", "demo", "default", ("a", "b"), ("c", "d"), frozenset({"a", "d"}))
    told = complete(pod, known)
    assert told["a"].phase is init
    assert told["d"].phase is main
    assert told["a"].exit_code == told["d"].exit_code == 0


def test_all_messages_of_a_pod_are_12_kib_at_most():
    long = ContainerState(Phase.TERMINATED, message="ä" * 4096)
    status = pod_status(POD, "jid", dict.fromkeys("abcd", long))
    messages = [entry.state.terminated.message for entry in (*status.initContainers, *status.containers)]
    assert messages == ["ä" * (12 * 1024 // 4 // 2)] * 4


def test_times():
    assert timestamp(None) is None
    assert timestamp(0.9) == "1970-01-01T00:00:00Z"
