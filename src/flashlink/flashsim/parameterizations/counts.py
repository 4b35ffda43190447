"""Probabilities from counts in cells: common shapes first, then what sets species, origins and cells apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flashlink.flashsim.parameterizations.condition import Floats, Integers


def count(shape: Sequence[int], *indices: Integers) -> Floats:
    """How many particles have each combination of `indices`: a histogram of `shape`."""
    flat = np.ravel_multi_index(indices, tuple(shape))
    return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)


@dataclass(frozen=True)
class Level:
    """What one step of `refined` corrects.

    Attributes:
        pool: Axes that share the correction; counts are summed over them.
        width: Standard deviation, in bins, of the neighbourhood over which the others of the two axes of cells are
            smoothed; 0 takes each cell by itself.
    """

    pool: tuple[int, ...]
    width: float


def refined(counts: Floats, levels: Sequence[Level], cells: tuple[int, int], strength: float) -> Floats:
    """Probabilities of the outcomes along the last axis, from few counts.

    Each level multiplies the probabilities of the one before by the ratio of the counts that were observed to those
    that the probabilities predict, both summed over a pool and smoothed over neighbouring cells. A correction varies
    slowly, a probability need not: steep shapes that many particles have shown, such as the edges of the acceptance,
    are kept while a rare species is fitted to its own few. The ratio is the posterior mean of a Gamma distribution
    with mean 1 and a weight of `strength` counts.

    Args:
        counts: Shape (…, outcomes).
        levels: From coarse to fine.
        cells: The two axes of (log_p, eta).
        strength: Weight of what the levels before say, in counts.

    Returns:
        Probabilities, in the shape of `counts`. An outcome that training never had is impossible.
    """
    number = counts.sum(axis=-1, keepdims=True)
    # An axis has length 1 until a level tells its bins apart.
    probability = counts.sum(axis=tuple(range(counts.ndim - 1)), keepdims=True) / counts.sum()
    for level in levels:
        axes = [axis for axis in cells if axis not in level.pool]
        observed = _smoothed(counts.sum(axis=level.pool, keepdims=True), axes, level.width)
        alike = tuple(axis for axis in level.pool if probability.shape[axis] == 1)
        predicted = (number.sum(axis=alike, keepdims=True) * probability).sum(axis=level.pool, keepdims=True)
        expected = _smoothed(predicted, axes, level.width)
        prior = strength * probability.mean(axis=level.pool, keepdims=True)
        # Where a probability is 0 already, there is nothing to correct.
        prior = np.broadcast_to(prior, observed.shape)
        ratio = np.divide(observed + prior, expected + prior, out=np.ones_like(observed), where=prior > 0)
        probability = probability * ratio
        probability /= probability.sum(axis=-1, keepdims=True)
    return np.broadcast_to(probability, counts.shape).copy()


def _smoothed(counts: Floats, axes: Sequence[int], width: float) -> Floats:
    """Counts summed over a Gaussian neighbourhood along `axes`."""
    if width:
        from scipy.ndimage import gaussian_filter1d  # only here: a simulation does without scipy, and starts quicker

        for axis in axes:
            # A smoothed count is a mean over neighbours; what it is worth is their sum.
            counts = 2 * np.sqrt(np.pi) * width * gaussian_filter1d(counts, width, axis=axis, mode="nearest")
    return counts
