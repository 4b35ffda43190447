"""Ghosts: reconstructed tracks that no particle made, in number and kind as the multiplicity of the event has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.likelihoods import PARTS
from flashlink.flashsim.parameterizations.condition import Floats, Integers
from flashlink.flashsim.parameterizations.grid import Grid
from flashlink.flashsim.parameterizations.library import thinned
from flashlink.flashsim.samples import HITS

#: Training ghosts that are kept.
MOST = 4000

#: What is kept of a ghost, before the lower triangle of the Cholesky factor of its covariance; z counts from the
#: primary vertex.
VARIABLES = (
    "x", "y", "z", "tx", "ty", "qop", "category", "chi2", "ndf", "ghost_probability", *HITS, "is_muon", *PARTS,
)  # fmt: skip


@dataclass(frozen=True)
class Ghosts:
    """The rate of ghosts in slices of multiplicity, and a library of them.

    Attributes:
        multiplicity: Mean multiplicity of each slice, shape (slices,).
        rate: Mean number of ghosts an event in each slice.
        first: First row of each slice in `vectors`; one more than slices.
        vectors: `VARIABLES` and Cholesky factors of training ghosts, shape (rows, 36).
    """

    multiplicity: Floats
    rate: Floats
    first: npt.NDArray[np.int32]
    vectors: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, grid: Grid, events: Floats, ghosts: Floats, vectors: Floats) -> Ghosts:
        """Count ghosts and keep some.

        Args:
            grid: Gives the slices of multiplicity.
            events: Multiplicity of each training event.
            ghosts: Multiplicity of the event of each training ghost.
            vectors: The ghosts, as `vectors` of the class.
        """
        slices = grid.multiplicity.bins
        where, of_ghost = grid.multiplicity.locate(events), grid.multiplicity.locate(ghosts)
        number = np.bincount(where, minlength=slices)
        mean = np.bincount(where, weights=events, minlength=slices) / np.maximum(number, 1)
        rate = np.bincount(of_ghost, minlength=slices) / np.maximum(number, 1)
        order = np.argsort(of_ghost, kind="stable")
        kept = order[thinned(np.arange(len(order)), MOST)]
        first = np.searchsorted(of_ghost[kept], np.arange(slices + 1)).astype(np.int32)
        # A slice without events has no ghosts either, so its offset repeats that of the next.
        first = np.append(first[:-1][number > 0], first[-1])
        return cls(mean[number > 0], rate[number > 0], first, vectors[kept].astype(np.float32))

    def number(self, multiplicity: Floats, uniform: Floats) -> Integers:
        """Ghosts in each event: Poisson with the rate of its multiplicity; `uniform` has shape (events,)."""
        rate = np.interp(multiplicity, self.multiplicity, self.rate)
        return _poisson(uniform, rate)

    def sample(self, multiplicity: Floats, uniform: Floats) -> Floats:
        """A row of `vectors` for each ghost, given the multiplicity of its event; arguments have shape (ghosts,)."""
        nearest = np.abs(multiplicity[:, None] - self.multiplicity).argmin(axis=1)
        first, end = self.first[nearest], self.first[nearest + 1]
        # A slice without ghosts of its own lends from all.
        empty = first == end
        first, end = np.where(empty, 0, first), np.where(empty, len(self.vectors), end)
        row: Floats = self.vectors[first + (uniform * (end - first)).astype(np.int64)].astype(np.float64)
        return row


def _poisson(uniform: Floats, mean: Floats) -> Integers:
    """Numbers of a Poisson distribution, by the inverse of its cumulative distribution.

    The means are few ghosts an event, for which adding up is quick; importing `scipy.stats` takes longer than a small
    sample takes to simulate.
    """
    number = np.zeros(len(uniform), dtype=np.int64)
    probability = np.exp(-mean)
    below = probability.copy()
    for count in range(1, int(mean.max(initial=0) + 12 * np.sqrt(mean.max(initial=0))) + 40):
        more = uniform > below
        if not more.any():
            break
        number += more
        probability *= mean / count
        below += probability
    return number
