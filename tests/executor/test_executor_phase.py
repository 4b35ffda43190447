"""What a status answer means."""

from __future__ import annotations

import pytest

from flashlink.pods.wire import ContainerStatus, PodStatus, Running, State, Terminated, Waiting
from snakemake_executor_plugin_interlink.phase import Phase, Verdict, verdict

WAITING = State(waiting=Waiting("Queued", "2 jobs before it"))
RUNNING = State(running=Running("2026-01-02T03:04:05Z"))
GOOD = State(terminated=Terminated(0, "Completed"))
BAD = State(terminated=Terminated(3, "Error", "held:\nno space"))
KILLED = State(terminated=Terminated(137, "OOMKilled"))


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], Verdict(Phase.WAITING, "the site does not know the pod")),
        ([WAITING], Verdict(Phase.WAITING, "2 jobs before it")),
        ([RUNNING], Verdict(Phase.RUNNING)),
        ([GOOD, RUNNING], Verdict(Phase.RUNNING)),
        ([BAD, RUNNING], Verdict(Phase.RUNNING)),
        ([GOOD, WAITING], Verdict(Phase.RUNNING)),
        ([GOOD], Verdict(Phase.DONE)),
        ([GOOD, BAD], Verdict(Phase.FAILED, "exit code 3: held: no space")),
        ([KILLED], Verdict(Phase.FAILED, "exit code 137, ended by signal 9")),
    ],
)
def test_a_pod_is_judged_by_all_its_containers(states: list[State], expected: Verdict) -> None:
    containers = [ContainerStatus(f"c{number}", state) for number, state in enumerate(states)]
    assert verdict(PodStatus("pod", "uid", "default", "jid", containers, [])) == expected


def test_a_pod_that_is_not_answered_for_waits() -> None:
    assert verdict(None).phase is Phase.WAITING
