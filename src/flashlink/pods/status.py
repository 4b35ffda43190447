"""The status of a pod in the words of interLink, so that the virtual kubelet draws the right conclusion from it.

The virtual kubelet counts the entries that it gets: a pod without entries counts as succeeded, a failed pod with an
entry missing crashes it, a waiting init container keeps a pod pending for ever, a missing exit code is a success. So
every container of the pod has one entry here, always, and what is final is only said when it is certain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum

from flashlink.pods import wire


class Phase(Enum):
    """Where a container is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class ContainerState:
    """State of one container.

    Attributes:
        phase: See `Phase`.
        reason: Kubernetes' CamelCase word: why it waits, or how it ended.
        message: The same in words for a person: interLink overwrites the reason of ended containers, not this.
        exit_code: 0 to 255, 128+signal for a signal; of a terminated container.
        started: Seconds since the epoch, once known.
        ended: Seconds since the epoch, once known.
        restarts: How many instances of the container ended before this one.
    """

    phase: Phase
    reason: str = ""
    message: str = ""
    exit_code: int = 0
    started: float | None = None
    ended: float | None = None
    restarts: int = 0

    @property
    def terminated(self) -> bool:
        """It has ended and will not start again."""
        return self.phase is Phase.TERMINATED

    @property
    def failed(self) -> bool:
        """It has ended with an exit code that is not 0."""
        return self.terminated and self.exit_code != 0


#: Of a container that nobody has said anything about yet.
UNKNOWN = ContainerState(Phase.WAITING, "ContainerCreating", "the job has not been submitted yet")

#: Bytes of all messages of a pod together, as Kubernetes has it.
_LONGEST_MESSAGES = 12 * 1024

_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Outline:
    """What of a pod a status needs: who it is and which containers it has.

    Attributes:
        uid: The pod's uid.
        name: The pod's name.
        namespace: The pod's namespace.
        init_containers: Names in the order of the spec.
        containers: Names in the order of the spec.
        not_offloaded: Those of both that run in the cluster, not here.
        sidecars: Those of the init containers that go on beside the containers.
    """

    uid: str
    name: str
    namespace: str
    init_containers: tuple[str, ...]
    containers: tuple[str, ...]
    not_offloaded: frozenset[str] = frozenset()
    sidecars: frozenset[str] = frozenset()


def pod_status(
    pod: Outline,
    jid: str,
    states: Mapping[str, ContainerState],
    images: Mapping[str, str] = _NOTHING,
    image_ids: Mapping[str, str] = _NOTHING,
) -> wire.PodStatus:
    """Compose the answer for one pod.

    Args:
        pod: Which containers must have an entry.
        jid: interLink's ``PodJID``.
        states: State of each offloaded container that is known; the others wait.
        images: Container to image as in the manifest.
        image_ids: Container to what the container runtime makes of the image, where that is known.
    """

    def entry(name: str) -> wire.ContainerStatus:
        state = told[name]
        message = state.message.encode()[:longest].decode("utf-8", "ignore")
        return _entry(name, replace(state, message=message), images.get(name, ""), image_ids.get(name, ""))

    longest = _LONGEST_MESSAGES // max(len(pod.init_containers) + len(pod.containers), 1)
    told = _without_sidecars(pod, complete(pod, states))
    return wire.PodStatus(
        name=pod.name,
        UID=pod.uid,
        namespace=pod.namespace,
        JID=jid,
        containers=[entry(name) for name in pod.containers],
        initContainers=[entry(name) for name in pod.init_containers],
    )


def complete(pod: Outline, states: Mapping[str, ContainerState]) -> dict[str, ContainerState]:
    """A state for each container: a failed init container ends the later ones, containers of the cluster go with ours.

    Args:
        pod: Names and order of the containers.
        states: What is known of the offloaded ones.
    """
    told = {
        name: states.get(name, UNKNOWN)
        for name in (*pod.init_containers, *pod.containers)
        if name not in pod.not_offloaded
    }
    _stop_after_failed_init(pod, told)
    ours = [name for name in pod.containers if name in told]
    begun = any(told[name].phase is not Phase.WAITING for name in ours)
    init_done = all(told[name].terminated for name in pod.init_containers if name in told and name not in pod.sidecars)
    _stand_in(pod.init_containers, told, ended=init_done and (begun or not ours))
    _stand_in(pod.containers, told, ended=bool(ours) and all(told[name].terminated for name in ours))
    return told


def is_final(pod: Outline, states: Mapping[str, ContainerState]) -> bool:
    """True if every container of `pod` has ended for good, so that the virtual kubelet will never ask again."""
    return all(state.terminated for state in complete(pod, states).values())


def _stop_after_failed_init(pod: Outline, told: dict[str, ContainerState]) -> None:
    names = [name for name in (*pod.init_containers, *pod.containers) if name in told]
    init = [name for name in pod.init_containers if name in told and name not in pod.sidecars]
    failed = next((name for name in init if told[name].failed), None)
    if failed is None:
        return
    cause = told[failed]
    for name in names[names.index(failed) + 1 :]:
        if not told[name].terminated:
            told[name] = not_started(f"init container {failed} failed", cause.exit_code, cause.ended)


def _without_sidecars(pod: Outline, told: dict[str, ContainerState]) -> dict[str, ContainerState]:
    """A sidecar is told as done once something after it has begun, and never as failed.

    The virtual kubelet knows init containers that end, and no others: it holds a pod pending, and hides what its
    containers do, as long as one of them runs, and fails the pod for the exit code of any.
    """
    names = (*pod.init_containers, *pod.containers)
    shown = dict(told)
    for position, name in enumerate(pod.init_containers):
        later = (told[each] for each in names[position + 1 :])
        if name in pod.sidecars and (told[name].terminated or any(_has_begun(state) for state in later)):
            shown[name] = _done(told[name])
    return shown


def _has_begun(state: ContainerState) -> bool:
    return state.started is not None or state.ended is not None


def _done(sidecar: ContainerState) -> ContainerState:
    if sidecar.terminated:
        message = f"sidecar: ended with exit code {sidecar.exit_code}"
    else:
        message = f"sidecar: {'runs' if sidecar.phase is Phase.RUNNING else sidecar.message or 'waits'}"
    return replace(sidecar, phase=Phase.TERMINATED, reason="Completed", message=message, exit_code=0)


def not_started(why: str, exit_code: int, ended: float | None) -> ContainerState:
    """Of a container that never will run: terminated, with a code that cannot be taken for success."""
    return ContainerState(Phase.TERMINATED, "NotStarted", f"not started: {why}", exit_code or 1, ended=ended)


def _stand_in(names: Sequence[str], told: dict[str, ContainerState], *, ended: bool) -> None:
    """The cluster runs these; interLink wants an entry from us all the same and would wait for ever on "waiting"."""
    message = "runs in the cluster (interlink.eu/disable-offload)"
    phase = ContainerState(Phase.TERMINATED if ended else Phase.RUNNING, "Completed" if ended else "", message)
    for name in names:
        told.setdefault(name, phase)


def _entry(name: str, state: ContainerState, image: str, image_id: str) -> wire.ContainerStatus:
    if state.phase is Phase.WAITING:
        shown = wire.State(waiting=wire.Waiting(state.reason or "ContainerCreating", state.message))
    elif state.phase is Phase.RUNNING:
        shown = wire.State(running=wire.Running(timestamp(state.started)))
    else:
        reason = state.reason or ("Error" if state.exit_code else "Completed")
        times = timestamp(state.started), timestamp(state.ended)
        shown = wire.State(terminated=wire.Terminated(state.exit_code, reason, state.message, *times))
    ready = state.phase is Phase.RUNNING
    return wire.ContainerStatus(name, shown, ready, state.restarts, image, image_id)


def timestamp(seconds: float | None) -> str | None:
    """RFC 3339 in UTC with whole seconds, as Kubernetes writes times, or None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
