"""What the status of a pod comes to, as the virtual kubelet and kubectl tell it: its phase, its exit code, why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from flashlink.pods.wire import ContainerStatus, PodStatus, Terminated


class Phase(StrEnum):
    """Kubernetes' pod phases; the last two are final, Unknown says that the plugin knows nothing of the pod."""

    UNKNOWN = "Unknown"
    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"

    @property
    def final(self) -> bool:
        """Whether the pod has ended."""
        return self in {Phase.SUCCEEDED, Phase.FAILED}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a status comes to.

    Attributes:
        phase: See `Phase`.
        exit_code: That of the first init container that failed, else of the first container that did; 0 otherwise.
        reason: One line for a person: why it waits, or how it failed; may be "".
    """

    phase: Phase
    exit_code: int = 0
    reason: str = ""


def verdict(status: PodStatus | None) -> Verdict:
    """Judge a status; None, or one without containers, is of a pod that the plugin does not know.

    The virtual kubelet would take a pod without containers for succeeded; nobody who waits for a result wants that.
    """
    if status is None or not status.containers:
        return Verdict(Phase.UNKNOWN, reason="the plugin does not know the pod")
    failed_init = next((one for one in status.initContainers if _failed(one)), None)
    if failed_init is not None or all(one.state.terminated for one in status.containers):
        failed = failed_init or next((one for one in status.containers if _failed(one)), None)
        if failed is None or failed.state.terminated is None:
            return Verdict(Phase.SUCCEEDED)
        return Verdict(Phase.FAILED, failed.state.terminated.exitCode, _end(failed.name, failed.state.terminated))
    if any(one.state.running or one.state.terminated for one in status.containers):
        return Verdict(Phase.RUNNING)
    return Verdict(Phase.PENDING, reason=_wait([*status.initContainers, *status.containers]))


def _failed(container: ContainerStatus) -> bool:
    ended = container.state.terminated
    return ended is not None and ended.exitCode != 0


def _end(name: str, ended: Terminated) -> str:
    signal = f", signal {ended.exitCode - 128}" if 128 < ended.exitCode < 128 + 65 else ""
    message = " ".join("".join(each if each.isprintable() else " " for each in ended.message).split())
    return f"container {name} ended with exit code {ended.exitCode}{signal}" + (f": {message}" if message else "")


def _wait(containers: list[ContainerStatus]) -> str:
    running = next((one for one in containers if one.state.running), None)
    if running is not None:
        return f"init container {running.name} runs"
    waits = [one.state.waiting for one in containers if one.state.waiting]
    return next((" ".join((wait.message or wait.reason).split()) for wait in waits), "")
