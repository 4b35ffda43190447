"""Jobs that Slurm has queued again, and why: it tells how often it has, but not what became of the former run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from flashlink.batch.slurm.scheduler import Scheduler
from flashlink.batch.system import JobState, JobStatus
from flashlink.errors import SiteError


class Again:
    """Puts into words why jobs wait that have run before.

    Args:
        scheduler: Asked for the nodes of former runs, once each.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._known: dict[int, tuple[int, str]] = {}  # number to how often it was queued again, and why

    def explained(self, statuses: Mapping[int, JobStatus], before: Mapping[int, JobStatus]) -> dict[int, JobStatus]:
        """The same statuses, of which those of jobs that wait again say so.

        Args:
            statuses: As Slurm tells them, by number.
            before: As they were last seen: with the nodes of jobs that ran.
        """
        waits = (JobState.QUEUED, JobState.HELD)
        again = {number: each for number, each in statuses.items() if each.restarts and each.state in waits}
        new = [number for number, each in again.items() if self._known.get(number, (0, ""))[0] != each.restarts]
        nodes = {number: before[number].node for number in new if number in before}
        failed = self._failed({node for node in nodes.values() if node})
        for number in new:
            node = nodes.get(number, "")
            why = f"its node {node} failed; " if node in failed else ""
            self._known[number] = again[number].restarts, f"{why}Slurm has queued it again"
        told = {
            number: replace(each, reason=f"{self._known[number][1]}: {each.reason}") for number, each in again.items()
        }
        return {**statuses, **told}

    def forget(self, number: int) -> None:
        """Of a job that is over."""
        self._known.pop(number, None)

    def _failed(self, nodes: set[str]) -> set[str]:
        if nodes:
            with suppress(SiteError):  # then it is told without the node
                return self._scheduler.failed(nodes)
        return set()
