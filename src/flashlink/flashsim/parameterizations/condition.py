"""What a parameterization is conditioned on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Species, each with the PDG number that stands for it; whatever else is charged counts as the heavy last one.
SPECIES = {"electron": 11, "muon": 13, "pion": 211, "kaon": 321, "proton": 2212}

#: Indices into `SPECIES`.
ELECTRON, MUON, PION, KAON, PROTON = range(len(SPECIES))


def species_of(pdg: npt.NDArray[np.int32]) -> Integers:
    """Index into `SPECIES` of each PDG number, whatever its sign."""
    species = np.full(len(pdg), len(SPECIES) - 1, dtype=np.int64)
    for index, number in enumerate(SPECIES.values()):
        species[np.abs(pdg) == number] = index
    return species


def has_species(pdg: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Whether each PDG number is one of `SPECIES`, and not only counts as one."""
    return np.isin(np.abs(pdg), tuple(SPECIES.values()))


@dataclass(frozen=True)
class Condition:
    """Particles as the parameterizations see them; all arrays have shape (particles,).

    Attributes:
        species: Index into `SPECIES`.
        charge: In units of e, 1 or -1.
        log_p: log10 of the momentum in MeV at the origin.
        eta: Pseudorapidity at the origin.
        phi: Azimuth at the origin, -pi to pi.
        origin_z: z of the production vertex, mm.
        origin_rho: Its distance from the beam axis, mm.
        closest_z: z where the straight line of the particle is closest to the beam axis, mm.
        impact: Distance of the line from the axis there, mm; positive to the left of the direction of flight.
        multiplicity: Charged stable particles of the event, the same for all its particles.
    """

    species: Integers
    charge: Floats
    log_p: Floats
    eta: Floats
    phi: Floats
    origin_z: Floats
    origin_rho: Floats
    closest_z: Floats
    impact: Floats
    multiplicity: Floats

    @classmethod
    def of(cls, particles: Mapping[str, npt.NDArray[Any]]) -> Condition:
        """The condition of the particles of a generated sample, given as its columns."""
        px, py, pz, x, y, z = (np.asarray(particles[name], dtype=np.float64) for name in ("px", "py", "pz", *"xyz"))
        transverse = np.hypot(px, py)
        with np.errstate(divide="ignore", invalid="ignore"):
            # What flies along the beam has an infinite eta, and no parameterization accepts it.
            eta = np.arcsinh(pz / transverse)
            closest_z = z - (x * px + y * py) * pz / transverse**2
            impact = (y * px - x * py) / transverse
        return cls(
            species=species_of(np.asarray(particles["pdg"], dtype=np.int32)),
            charge=np.asarray(particles["charge"], dtype=np.float64),
            log_p=np.log10(np.hypot(transverse, pz)),
            eta=eta,
            phi=np.arctan2(py, px),
            origin_z=z,
            origin_rho=np.hypot(x, y),
            closest_z=closest_z,
            impact=impact,
            multiplicity=np.asarray(particles["multiplicity"], dtype=np.float64),
        )

    def __getitem__(self, rows: npt.NDArray[Any] | slice) -> Condition:
        """The condition of some of the particles, by mask, indices or slice."""
        return Condition(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def __len__(self) -> int:
        """The number of particles."""
        return len(self.species)
