"""What a site has in all, and which jobs can never run there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from flashlink.batch.htcondor import states
from flashlink.batch.htcondor.client import Client
from flashlink.batch.system import Capacity, JobSpec
from flashlink.errors import SiteError


@dataclass(frozen=True, slots=True)
class Machine:
    """A worker, or a site that does not tell its workers: cores, bytes and GPU devices in all."""

    cpus: int
    memory: int
    gpus: int

    def fits(self, spec: JobSpec) -> bool:
        """Whether a job can run here at all."""
        return math.ceil(spec.cpus) <= self.cpus and spec.memory <= self.memory and spec.gpus <= self.gpus


class Machines:
    """The workers of a pool, as they were when `capacity` asked last.

    Args:
        client: Asks the pool.
        told: What the site's file says; a 0 is asked for.
    """

    def __init__(self, client: Client, told: Capacity) -> None:
        self._client = client
        self._told = told
        self._known: list[Machine] | None = None

    def capacity(self) -> Capacity:
        """Totals of the site; what its file says stands over what the pool tells.

        Raises:
            SiteError: The pool does not answer, or has no workers and the file does not say either.
        """
        told, known = self._told, self._look()
        cpus = told.cpus or sum(machine.cpus for machine in known)
        memory = told.memory or sum(machine.memory for machine in known)
        if not cpus or not memory:
            raise SiteError(
                "HTCondor: the pool tells of no workers; say what it has by batch.cpus and batch.memory",
                transient=True,
            )
        return Capacity(cpus, memory, told.gpus or sum(machine.gpus for machine in known), told.jobs)

    def refusal(self, spec: JobSpec) -> SiteError | None:
        """Why a job can never run; None if it may, or if that cannot be told."""
        if self._known is None:
            self._look()
        known = self._known or []
        if not known or any(machine.fits(spec) for machine in known):
            return None
        largest = max(known, key=lambda machine: (machine.cpus, machine.memory))
        return SiteError(
            f"{spec.name} asks for {spec.cpus:g} cores, {_gib(spec.memory)} of memory and {spec.gpus} GPUs; the "
            f"largest worker has {largest.cpus} cores, {_gib(largest.memory)} and {largest.gpus} GPUs: ask for less"
        )

    def _look(self) -> list[Machine]:
        told = self._told
        if told.cpus and told.memory:
            self._known = [Machine(told.cpus, told.memory, told.gpus)]
        else:
            self._known = [_machine(ad) for ad in self._client.call("machines")]
        return self._known


def _machine(ad: dict[str, Any]) -> Machine:
    """A slot's share of its worker, in all: partitionable slots tell totals, static ones what they are."""
    numbers = {name: int(value) for name, value in ad.items() if states.is_number(value)}
    cpus, mebibytes, gpus = (
        max(numbers.get(f"TotalSlot{name}", numbers.get(name, 0)), 0) for name in ("Cpus", "Memory", "GPUs")
    )
    return Machine(cpus, mebibytes * 2**20, gpus)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
