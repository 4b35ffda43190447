"""What a parameterization is conditioned on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Species classes, each with the PDG number that stands for it; whatever else is charged counts as the heavy last one.
SPECIES = {"electron": 11, "muon": 13, "pion": 211, "kaon": 321, "proton": 2212}


def species_of(pdg: npt.NDArray[np.int32]) -> Integers:
    """Index into `SPECIES` of each PDG number, whatever its sign."""
    species = np.full(len(pdg), len(SPECIES) - 1, dtype=np.int64)
    for index, number in enumerate(SPECIES.values()):
        species[np.abs(pdg) == number] = index
    return species


@dataclass(frozen=True)
class Condition:
    """Particles as the parameterizations see them; all arrays have shape (particles,).

    Attributes:
        species: Index into `SPECIES`.
        log_p: log10 of the momentum in MeV at the origin.
        eta: Pseudorapidity at the origin.
        origin_z: z of the production vertex, mm.
        multiplicity: Charged stable particles of the event, the same for all its particles.
    """

    species: Integers
    log_p: Floats
    eta: Floats
    origin_z: Floats
    multiplicity: Floats

    @classmethod
    def of(cls, particles: Mapping[str, npt.NDArray[Any]]) -> Condition:
        """The condition of the particles of a generated sample, given as its columns."""
        px, py, pz = (np.asarray(particles[name], dtype=np.float64) for name in ("px", "py", "pz"))
        transverse = np.hypot(px, py)
        with np.errstate(divide="ignore"):
            eta = np.arcsinh(pz / transverse)
        return cls(
            species=species_of(np.asarray(particles["pdg"], dtype=np.int32)),
            log_p=np.log10(np.hypot(transverse, pz)),
            eta=eta,
            origin_z=np.asarray(particles["z"], dtype=np.float64),
            multiplicity=np.asarray(particles["multiplicity"], dtype=np.float64),
        )

    def __getitem__(self, rows: npt.NDArray[Any] | slice) -> Condition:
        """The condition of some of the particles, by mask, indices or slice."""
        return Condition(
            self.species[rows], self.log_p[rows], self.eta[rows], self.origin_z[rows], self.multiplicity[rows]
        )

    def __len__(self) -> int:
        """The number of particles."""
        return len(self.species)
