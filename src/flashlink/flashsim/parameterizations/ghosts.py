"""Ghosts: reconstructed tracks that no particle made, in number and kind as the multiplicity of the event has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.likelihoods import PARTS
from flashlink.flashsim.parameterizations.condition import Floats, Integers
from flashlink.flashsim.parameterizations.event import EventCondition
from flashlink.flashsim.parameterizations.grid import Grid
from flashlink.flashsim.parameterizations.library import thinned
from flashlink.flashsim.random import Draws
from flashlink.flashsim.samples import HITS, TRACK_PARAMETERS

#: Training ghosts that are kept.
MOST = 4000

#: What a ghost has besides its state and covariance.
QUALITY = ("category", "chi2", "ndf", "ghost_probability", *HITS, "is_muon", *PARTS)

#: What is kept of a ghost, before the lower triangle of the Cholesky factor of its covariance; z counts from the
#: primary vertex.
VARIABLES = ("x", "y", "z", "tx", "ty", "qop", *QUALITY)


@dataclass(frozen=True)
class GhostTracks:
    """Tracks that no particle made, near their point closest to the beam.

    Attributes:
        state: (x, y, tx, ty, q/p), shape (ghosts, 5); mm and 1/MeV.
        covariance: Of it, shape (ghosts, 5, 5).
        z: Where, from the reconstructed primary vertex, mm.
        quality: `QUALITY`, each of shape (ghosts,).
    """

    state: Floats
    covariance: Floats
    z: Floats
    quality: dict[str, Floats]


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

    def number(self, condition: EventCondition, draws: Draws) -> Integers:
        """Ghosts in each event: Poisson with the rate of its multiplicity."""
        rate = np.interp(condition.multiplicity, self.multiplicity, self.rate)
        return _poisson(draws.uniform("simulate/ghosts", 1)[0], rate)

    def sample(self, condition: EventCondition, draws: Draws) -> GhostTracks:
        """Draw a ghost for each row of the condition, which is of its event."""
        nearest = np.abs(condition.multiplicity[:, None] - self.multiplicity).argmin(axis=1)
        first, end = self.first[nearest], self.first[nearest + 1]
        # A slice without ghosts of its own lends from all.
        empty = first == end
        first, end = np.where(empty, 0, first), np.where(empty, len(self.vectors), end)
        uniform = draws.uniform("simulate/ghost", 1)[0]
        vectors: Floats = self.vectors[first + (uniform * (end - first)).astype(np.int64)].astype(np.float64)
        values = dict(zip(VARIABLES, vectors.T, strict=False))
        factor = np.zeros((len(vectors), 5, 5))
        factor[:, *np.tril_indices(5)] = vectors[:, len(VARIABLES) :]
        state = np.stack([values[name] for name in TRACK_PARAMETERS], axis=1)
        # A ghost varies within its own errors, so that none comes twice.
        state = state + np.einsum("nij,nj->ni", factor, draws.normal("simulate/ghost residual", 5).T)
        quality = {name: values[name] for name in QUALITY}
        return GhostTracks(state, factor @ factor.transpose(0, 2, 1), values["z"], quality)


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
