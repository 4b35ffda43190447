"""Particle identification: is_muon as a probability, then all likelihood differences jointly from a library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.likelihoods import PARTS
from flashlink.flashsim.parameterizations.condition import SPECIES, Condition, Floats, Integers
from flashlink.flashsim.parameterizations.counts import Level, count, refined
from flashlink.flashsim.parameterizations.efficiency import OUTCOMES
from flashlink.flashsim.parameterizations.grid import Cells, Grid
from flashlink.flashsim.parameterizations.library import Library

#: The variables that are drawn together, in the order of the table.
VARIABLES = PARTS

#: Training tracks that a particle chooses from, in a box at least, and in a class at most. Likelihoods have thresholds
#: in momentum, which many tracks in a box keep sharp, and depend on pseudorapidity and multiplicity less.
WINDOW, LEAST, MOST = 6, 600, 40_000

#: Lengths of cells in pseudorapidity and multiplicity.
SIDES = (0.2, 2.0)

#: Of is_muon: each species against momentum, then its categories, pseudorapidities and multiplicities. Axes of the
#: counts: species, category, multiplicity, log_p, eta.
LEVELS = (
    Level((1, 2, 3, 4), 0),
    *(Level((1, 2, 4), width) for width in (4, 2, 1, 0)),
    *(Level((2, 4), width) for width in (8, 4)),
    *(Level((2,), width) for width in (8, 4)),
    Level((), 8),
)

#: Weight of a level against the next one, in tracks.
STRENGTH = 10


@dataclass(frozen=True)
class Identification:
    """is_muon and the likelihood differences by species, category, momentum, pseudorapidity and multiplicity.

    Attributes:
        muon: Probability of is_muon, shape (species, categories, multiplicity, log_p, eta).
        library: Which `vectors` may stand for a track; classes count is_muon, then categories, then species.
        vectors: `VARIABLES` of training tracks, shape (rows, 7).
    """

    muon: npt.NDArray[np.float32]
    library: Library
    vectors: npt.NDArray[np.float32]

    @classmethod
    def fit(
        cls, condition: Condition, grid: Grid, category: npt.NDArray[np.int8],
        is_muon: npt.NDArray[np.bool_], dlls: Floats,
    ) -> Identification:  # fmt: skip
        """Count is_muon and build the library.

        Args:
            condition: The true particles of the tracks.
            grid: The cells.
            category: The category of each track.
            is_muon: Its is_muon.
            dlls: Its `VARIABLES`, shape (tracks, 7).
        """
        cells = grid.locate(condition)
        column = np.argmax(category[:, None] == OUTCOMES[1:], axis=1)
        shape = (len(SPECIES), len(OUTCOMES) - 1, grid.multiplicity.bins, *grid.shape)
        where = (condition.species, column, cells.multiplicity, cells.log_p, cells.eta)
        counts = count((*shape, 2), *where, is_muon.astype(np.int64))
        muon = refined(counts, LEVELS, cells=(3, 4), strength=STRENGTH)[..., 1].astype(np.float32)
        classes = _classes(condition, column, is_muon)
        library, rows = Library.fit(
            classes, condition.log_p, (cells.eta, cells.multiplicity), (grid.eta.bins, grid.multiplicity.bins),
            _fallback(classes), window=WINDOW, least=LEAST, most=MOST, sides=SIDES,
        )  # fmt: skip
        return cls(muon, library, dlls[rows].astype(np.float32))

    def sample(
        self, condition: Condition, cells: Cells, category: npt.NDArray[np.int8], uniform: Floats
    ) -> tuple[npt.NDArray[np.bool_], Floats]:
        """Draw is_muon, shape (tracks,), and `VARIABLES`, shape (tracks, 7); `uniform` has shape (2, tracks)."""
        column = np.argmax(category[:, None] == OUTCOMES[1:], axis=1)
        where = (condition.species, column, cells.multiplicity, cells.log_p, cells.eta)
        is_muon = uniform[0] < self.muon[where]
        classes = _classes(condition, column, is_muon)
        rows = self.library.draw(classes, condition.log_p, (cells.eta, cells.multiplicity), uniform[1])
        return is_muon, self.vectors[rows].astype(np.float64)


def _classes(condition: Condition, column: Integers, is_muon: npt.NDArray[np.bool_]) -> Integers:
    return (condition.species * (len(OUTCOMES) - 1) + column) * 2 + is_muon


def _fallback(classes: Integers) -> Integers:
    """For each class the one of the same species and is_muon in the best populated category, or the same is_muon's."""
    counts = np.bincount(classes, minlength=len(SPECIES) * (len(OUTCOMES) - 1) * 2).reshape(len(SPECIES), -1, 2)
    numbers = np.arange(counts.size).reshape(counts.shape)
    fallback = numbers.copy()
    for species in range(len(counts)):
        for is_muon in (0, 1):
            best = counts[species, :, is_muon].argmax()
            if counts[species, best, is_muon] < WINDOW:
                fallback[species, :, is_muon] = numbers[:, :, is_muon].ravel()[counts[:, :, is_muon].argmax()]
            else:
                fallback[species, :, is_muon] = numbers[species, best, is_muon]
    return fallback.ravel()
