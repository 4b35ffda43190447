"""Acceptance, efficiency and track category, as one choice among four outcomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import SPECIES, Condition, Floats
from flashlink.flashsim.parameterizations.counts import Level, count, refined
from flashlink.flashsim.parameterizations.grid import Cells, Grid
from flashlink.flashsim.samples import DOWNSTREAM, LONG, UPSTREAM

#: The outcomes, in the order of the tables; 0 is "not reconstructed".
OUTCOMES = np.array([0, LONG, UPSTREAM, DOWNSTREAM], dtype=np.int8)

#: The shape that all particles share, to single cells; then what each slice of origin, each species and both together
#: change. Axes of the counts: species, origin, log_p, eta.
LEVELS = (
    *(Level((0, 1), width) for width in (8, 4, 2, 1, 0)),
    *(Level((0,), width) for width in (8, 4, 2, 1)),
    Level((1, 3), 2),
    *(Level((1,), width) for width in (8, 4, 2)),
    *(Level((), width) for width in (8, 4, 2, 1)),
)

#: Weight of a level against the next one, in particles.
STRENGTH = 10


@dataclass(frozen=True)
class Efficiency:
    """Probability of each outcome by species, origin, momentum and pseudorapidity.

    Attributes:
        cumulative: Cumulative probabilities of all `OUTCOMES` but the last, shape (species, origin, log_p, eta, 3).
        trained: Training particles in each cell, shape (species, log_p, eta).
    """

    cumulative: npt.NDArray[np.float32]
    trained: npt.NDArray[np.int32]

    @classmethod
    def fit(cls, condition: Condition, grid: Grid, category: npt.NDArray[np.int8]) -> Efficiency:
        """Count outcomes in cells.

        Args:
            condition: The generated particles in the acceptance of `grid`.
            grid: The cells.
            category: The category of each particle, 0 where it was not reconstructed.
        """
        cells = grid.locate(condition)
        shape = (len(SPECIES), grid.origin.bins, *grid.shape)
        where = (condition.species, cells.origin, cells.log_p, cells.eta)
        outcome = np.argmax(category[:, None] == OUTCOMES, axis=1)
        counts = count((*shape, len(OUTCOMES)), *where, outcome)
        probability = refined(counts, LEVELS, cells=(2, 3), strength=STRENGTH)
        return cls(
            cumulative=np.cumsum(probability, axis=-1)[..., :-1].astype(np.float32),
            trained=counts.sum(axis=(1, -1)).astype(np.int32),
        )

    def sample(self, condition: Condition, cells: Cells, uniform: Floats) -> npt.NDArray[np.int8]:
        """The category of each particle, 0 where it is not reconstructed; `uniform` has shape (particles,)."""
        cumulative = self.cumulative[condition.species, cells.origin, cells.log_p, cells.eta]
        outcome = (uniform[:, None] >= cumulative).sum(axis=1)
        return np.asarray(OUTCOMES[outcome])

    def in_range(self, condition: Condition, grid: Grid) -> npt.NDArray[np.bool_]:
        """Whether the cell of the particle, with its neighbours, had enough training particles of its species."""
        cells = grid.locate(condition)
        inside = condition.log_p <= grid.log_p.edges[-1]
        padded = np.pad(self.trained, ((0, 0), (3, 3), (3, 3)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), axis=(1, 2)).sum(axis=(-1, -2))
        return np.asarray(inside & (windows[condition.species, cells.log_p, cells.eta] >= 10))
