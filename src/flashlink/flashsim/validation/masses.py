"""Closure of the mass width: the decays of the signal chains whose daughters all have a long track in a simulation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.files import Columns
from flashlink.flashsim.kinematics import combined, mass_error, pdg_mass
from flashlink.flashsim.matching import rows_of
from flashlink.flashsim.report.fits import sigma68, sigma68_error
from flashlink.flashsim.samples import LONG
from flashlink.flashsim.states import covariances, states
from flashlink.flashsim.validation.sample import Floats, Pair, Side

Integers = npt.NDArray[np.int64]

#: Reconstructed decays of a kind, at least.
LEAST = 100

#: Generations between a particle and its stable descendants, at most.
_GENERATIONS = 10


@dataclass(frozen=True)
class Closure:
    """Width of the reconstructed minus the true mass of one kind of decay.

    Attributes:
        decay: PDG numbers, without signs: of the mother, then of its stable descendants.
        decays: How many all of whose daughters are long tracks, in the reference and in the flash simulation.
        reference: Half the central interval of 68 % in MeV.
        flash: Of the flash simulation.
        error: Statistical error of the ratio of the two.
        pulls: Widths of the difference over its error from the tracks' covariances, in both.
    """

    decay: tuple[int, ...]
    decays: tuple[int, int]
    reference: float
    flash: float
    error: float
    pulls: tuple[float, float]

    @property
    def name(self) -> str:
        """Of the decay in the particle data group's words, charges left out as the numbers have no sign."""
        from particle import Particle  # only here: it takes long to import

        mother, *daughters = (str(Particle.from_pdgid(number).name).rstrip("+-") for number in self.decay)
        return f"{mother} → {' '.join(daughters)}"

    @property
    def ratio(self) -> float:
        """Flash over reference."""
        return self.flash / self.reference


def closures(pair: Pair) -> Iterator[Closure]:
    """Of all kinds of decays that the signal chains have, into charged particles alone, and that are found enough."""
    for decay, leaves in sorted(decays(pair.generated).items()):
        found = [differences(side, pair.generated, leaves) for side in pair.sides]
        counts = (len(found[0][0]), len(found[1][0]))
        if min(counts) < LEAST:
            continue
        ours, theirs = (sigma68(difference) for difference, _ in found)
        error = np.hypot(sigma68_error(1, counts[0]), sigma68_error(1, counts[1])) * theirs / ours
        pulls = (sigma68(found[0][0] / found[0][1]), sigma68(found[1][0] / found[1][1]))
        yield Closure(decay, counts, ours, theirs, float(error), pulls)


def decays(generated: Columns) -> dict[tuple[int, ...], Integers]:
    """Rows of the stable descendants of each unstable particle of the signal chains, by kind of decay.

    Returns:
        For each kind (see `Closure.decay`) an array of shape (decays, daughters).
    """
    mother = rows_of(generated["event"], generated["mother"], generated["event"], generated["particle"])
    leaf = np.flatnonzero(generated["signal"] & generated["stable"])
    descendants: dict[int, list[int]] = defaultdict(list)
    above = mother[leaf]
    for _ in range(_GENERATIONS):
        leaf, above = leaf[above >= 0], above[above >= 0]
        for ancestor, descendant in zip(above.tolist(), leaf.tolist(), strict=True):
            descendants[ancestor].append(descendant)
        above = mother[above]
    kinds: dict[tuple[int, ...], list[list[int]]] = defaultdict(list)
    species, charge = np.abs(generated["pdg"]), generated["charge"]
    for ancestor, rows in descendants.items():
        if len(rows) > 1 and (charge[rows] != 0).all():
            rows.sort(key=lambda row: (species[row], row))
            kinds[int(species[ancestor]), *map(int, species[rows])].append(rows)
    return {kind: np.array(rows) for kind, rows in kinds.items()}


def differences(side: Side, generated: Columns, leaves: Integers) -> tuple[Floats, Floats]:
    """Reconstructed minus true mass in MeV of the decays that are found, and its errors from the covariances."""
    tracks = side.tracks
    row = rows_of(
        generated["event"][leaves.ravel()], generated["particle"][leaves.ravel()], tracks["event"], tracks["particle"]
    ).reshape(leaves.shape)
    found = ((row >= 0) & (tracks["category"][row] == LONG)).all(axis=1)
    row, leaves = row[found], leaves[found]
    some = {name: tracks[name][row.ravel()] for name in tracks}
    state = states(some).reshape(*row.shape, 5)
    together = combined(state, [pdg_mass(int(number)) for number in np.abs(generated["pdg"][leaves[:1]]).ravel()])
    energy, *momentum = (generated[name][leaves].sum(axis=1) for name in ("energy", "px", "py", "pz"))
    true = np.sqrt(energy**2 - sum(component**2 for component in momentum))
    return together.mass - true, mass_error(together.gradient, covariances(some).reshape(*row.shape, 5, 5))
