"""Resolution, covariance and quality of tracks, drawn jointly.

A training track is kept whole: its residuals, the covariance that the fit quoted for it, chi2, ndf, ghost probability
and hits. A simulated particle takes one of the same class and nearly the same momentum and pseudorapidity, and
scales it to its own: with D the diagonal matrix of the expected resolutions, what is kept of a training track is
D^-1 C D^-1, and the covariance of the simulated one is that with a D of its own. So the covariance is positive definite
as the training track's was, pulls are those of the reference, and tails stay with the chi2 that they came with.
Residuals are kept as pulls, w with r = L w and C = L L^T (Cholesky), which serves to smooth: w' = sqrt(1 - h^2) w + h n
with unit normal n keeps their unit width but never repeats a value.

The momentum enters as q/p times the true p, so that the numbers are near those of dp/p and scale by 1/p.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import SPECIES, Condition, Floats, Integers
from flashlink.flashsim.parameterizations.efficiency import OUTCOMES
from flashlink.flashsim.parameterizations.grid import Cells, Grid
from flashlink.flashsim.parameterizations.library import Library
from flashlink.flashsim.samples import HITS

#: What comes with a state and its covariance.
QUALITY = ("chi2", "ndf", "ghost_probability", *HITS)

#: h: the share of a pull that is drawn anew.
SMOOTHING = 0.25

#: Training tracks that a particle chooses from, in a box of pseudorapidity at least, and in a class at most.
WINDOW, LEAST, MOST = 40, 400, 16_000


#: The largest number of half precision, in which the library is kept.
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Tracks:
    """Residuals and covariances of tracks at their point closest to the beam.

    Attributes:
        residual: Reconstructed minus true (x, y, tx, ty, q/p), shape (tracks, 5); mm and 1/MeV.
        covariance: Their quoted covariance, shape (tracks, 5, 5).
        quality: `QUALITY`, shape (tracks, 6).
    """

    residual: Floats
    covariance: Floats
    quality: Floats


@dataclass(frozen=True)
class Resolution:
    """A library of training tracks by species, category, origin, momentum and pseudorapidity.

    Attributes:
        library: Which `vectors` may stand for a particle; classes count origin slices, then categories, then species.
        vectors: Pulls (5), lower triangle of the Cholesky factor of the covariance in units of the expected resolutions
            (15), quality (6); shape (rows, 26).
        scale: Coefficients of the logarithms of the five expected resolutions, shape (categories, 6, 5).
    """

    library: Library
    vectors: npt.NDArray[np.float16]
    scale: Floats

    @classmethod
    def fit(cls, condition: Condition, grid: Grid, category: npt.NDArray[np.int8], tracks: Tracks) -> Resolution:
        """Build the library.

        Args:
            condition: The true particles of the tracks.
            grid: The cells.
            category: The category of each track.
            tracks: Residuals, covariances and quality.
        """
        cells = grid.locate(condition)
        classes = _classes(condition, cells, category, grid)
        momentum = 10**condition.log_p
        units = np.stack([np.ones_like(momentum)] * 4 + [momentum], axis=1)
        factor = np.linalg.cholesky(tracks.covariance * units[:, :, None] * units[:, None, :])
        pulls = np.linalg.solve(factor, (tracks.residual * units)[:, :, None])[:, :, 0]
        number = len(SPECIES) * (len(OUTCOMES) - 1) * grid.origin.bins
        library, rows = Library.fit(
            classes, condition.log_p, (cells.eta,), (grid.eta.bins,), _fallback(classes, number, grid.origin.bins),
            window=WINDOW, least=LEAST, most=MOST, sides=(1.0,),
        )  # fmt: skip
        sigma = np.sqrt(np.einsum("nij,nij->ni", factor, factor))
        scale = _scale(np.log(sigma), condition, category)
        triangle = (factor / _expected(condition, category, scale)[:, :, None])[:, *np.tril_indices(5)]
        vectors = np.concatenate([pulls, triangle, tracks.quality], axis=1)[rows]
        return cls(library, np.clip(vectors, -_LARGEST, _LARGEST).astype(np.float16), scale)

    def sample(
        self, condition: Condition, grid: Grid, cells: Cells, category: npt.NDArray[np.int8],
        uniform: Floats, normal: Floats,
    ) -> Tracks:  # fmt: skip
        """Draw residuals, covariance and quality of reconstructed particles.

        Args:
            condition: The particles.
            grid: The cells that `fit` was given.
            cells: Their cells.
            category: Their categories.
            uniform: Shape (particles,).
            normal: Standard normal numbers, shape (5, particles).
        """
        classes = _classes(condition, cells, category, grid)
        rows = self.library.draw(classes, condition.log_p, (cells.eta,), uniform)
        vectors = self.vectors[rows].astype(np.float64)
        pulls = np.sqrt(1 - SMOOTHING**2) * vectors[:, :5] + SMOOTHING * normal.T
        factor = np.zeros((len(vectors), 5, 5))
        factor[:, *np.tril_indices(5)] = vectors[:, 5:20]
        # Training knows no resolution beyond its last momentum.
        bounded = replace(condition, log_p=np.minimum(condition.log_p, grid.log_p.edges[-1]))
        factor *= _expected(bounded, category, self.scale)[:, :, None]
        factor[:, 4] /= 10 ** condition.log_p[:, None]
        return Tracks(
            residual=np.einsum("nij,nj->ni", factor, pulls),
            covariance=factor @ factor.transpose(0, 2, 1),
            quality=vectors[:, 20:],
        )


def _column(category: npt.NDArray[np.int8]) -> Integers:
    return np.asarray(np.argmax(category[:, None] == OUTCOMES[1:], axis=1))


def _classes(condition: Condition, cells: Cells, category: npt.NDArray[np.int8], grid: Grid) -> Integers:
    return (condition.species * (len(OUTCOMES) - 1) + _column(category)) * grid.origin.bins + cells.origin


def _fallback(classes: Integers, number: int, origins: int) -> Integers:
    """For each class the most populated one of the same category and origin, or failing that of the same category."""
    counts = np.bincount(classes, minlength=number).reshape(len(SPECIES), -1, origins)
    numbers = np.arange(number).reshape(counts.shape)
    fallback = numbers.copy()
    for column in range(counts.shape[1]):
        anywhere = numbers[:, column].ravel()[counts[:, column].argmax()]
        for origin in range(origins):
            best = counts[:, column, origin].argmax()
            enough = counts[best, column, origin] >= WINDOW
            fallback[:, column, origin] = numbers[best, column, origin] if enough else anywhere
    return fallback.ravel()


def _features(log_p: Floats, eta: Floats) -> Floats:
    # Centred, so that the normal equations stay well conditioned.
    p, e = log_p - 4, eta - 3
    return np.stack([np.ones_like(p), p, e, p * p, p * e, e * e], axis=1)


def _expected(condition: Condition, category: npt.NDArray[np.int8], scale: Floats) -> Floats:
    """Expected resolution of (x, y, tx, ty) and of q/p times p, by the fit of `_scale`; shape (tracks, 5)."""
    features = _features(condition.log_p, condition.eta)
    return np.asarray(np.exp(np.einsum("nf,nfj->nj", features, scale[_column(category)])))


def _scale(log_sigma: Floats, condition: Condition, category: npt.NDArray[np.int8]) -> Floats:
    """Fit a quadratic in log_p and eta to the logarithm of each quoted resolution, for each category."""
    features = _features(condition.log_p, condition.eta)
    column = _column(category)
    scale = np.zeros((len(OUTCOMES) - 1, features.shape[1], 5))
    for number in range(len(scale)):
        rows = column == number
        if rows.sum() >= WINDOW:
            scale[number] = np.linalg.lstsq(features[rows], log_sigma[rows], rcond=None)[0]
    return scale
