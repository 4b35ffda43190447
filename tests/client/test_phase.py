"""What a status comes to."""

import pytest

from flashlink.client.phase import Phase, verdict
from flashlink.pods.wire import ContainerStatus, PodStatus, Running, State, Terminated, Waiting

WAIT = State(waiting=Waiting("ContainerCreating", "the job\nis queued"))
RUN = State(running=Running("2026-01-02T03:04:05Z"))


def end(code: int, message: str = "") -> State:
    return State(terminated=Terminated(code, "Completed", message))


def status(*states: State, init: tuple[State, ...] = ()) -> PodStatus:
    return PodStatus(
        name="p",
        UID="u",
        namespace="default",
        JID="7",
        containers=[ContainerStatus(f"c{index}", state) for index, state in enumerate(states)],
        initContainers=[ContainerStatus(f"i{index}", state) for index, state in enumerate(init)],
    )


@pytest.mark.parametrize(
    ("told", "phase", "code", "reason"),
    [
        (None, Phase.UNKNOWN, 0, "the plugin does not know the pod"),
        (status(), Phase.UNKNOWN, 0, "the plugin does not know the pod"),
        (status(WAIT), Phase.PENDING, 0, "the job is queued"),
        (status(WAIT, init=(RUN,)), Phase.PENDING, 0, "init container i0 runs"),
        (status(WAIT, init=(end(0), WAIT)), Phase.PENDING, 0, "the job is queued"),
        (status(RUN, WAIT), Phase.RUNNING, 0, ""),
        (status(end(0), RUN), Phase.RUNNING, 0, ""),
        (status(end(1), RUN), Phase.RUNNING, 0, ""),
        (status(end(0), end(0), init=(end(0),)), Phase.SUCCEEDED, 0, ""),
        (status(end(0), end(3)), Phase.FAILED, 3, "container c1 ended with exit code 3"),
        (
            status(end(137, "out of\nmemory")),
            Phase.FAILED,
            137,
            "container c0 ended with exit code 137, signal 9: out of memory",
        ),
        (status(end(1, "\x1b[2Jwords\n")), Phase.FAILED, 1, "container c0 ended with exit code 1: [2Jwords"),
        (status(end(1, "not started"), init=(end(2),)), Phase.FAILED, 2, "container i0 ended with exit code 2"),
        (status(WAIT, init=(end(2),)), Phase.FAILED, 2, "container i0 ended with exit code 2"),
    ],
)
def test_as_the_virtual_kubelet_judges(told: PodStatus | None, phase: Phase, code: int, reason: str) -> None:
    judged = verdict(told)
    assert (judged.phase, judged.exit_code, judged.reason) == (phase, code, reason)
    assert phase.final == (phase in {Phase.SUCCEEDED, Phase.FAILED})
