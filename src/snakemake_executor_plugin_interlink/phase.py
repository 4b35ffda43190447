"""What a status answer means for a job, decided as the virtual kubelet decides it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from flashlink.pods.wire import PodStatus


class Phase(StrEnum):
    """Where a pod is; the last two are final. The values stand in the ledger."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A phase, and for a wait or a failure one line that says why."""

    phase: Phase
    reason: str = ""


def verdict(status: PodStatus | None) -> Verdict:
    """Judge an answer: final only when every container has terminated, failed when any of them did not exit with 0.

    One difference to the virtual kubelet: that takes an empty list of containers for success. Here it means that the
    plugin does not know the pod (yet), and so that nothing has been done.
    """
    if status is None or not status.containers:
        return Verdict(Phase.WAITING, "the site does not know the pod")
    states = [container.state for container in status.containers]
    ended = [state.terminated for state in states if state.terminated]
    if len(ended) == len(states):
        wrong = [end for end in ended if end.exitCode != 0]
        return Verdict(Phase.FAILED, _why(wrong[0].exitCode, wrong[0].message)) if wrong else Verdict(Phase.DONE)
    if any(state.running for state in states) or ended:
        return Verdict(Phase.RUNNING)
    waits = [state.waiting for state in states if state.waiting]
    return Verdict(Phase.WAITING, next((wait.message or wait.reason for wait in waits), ""))


def _why(code: int, message: str) -> str:
    signal = f", ended by signal {code - 128}" if 128 < code <= 128 + 64 else ""
    return f"exit code {code}{signal}" + (f": {' '.join(message.split())}" if message else "")
