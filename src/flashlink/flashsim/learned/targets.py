"""Tracks as numbers without bounds that a network can draw, and back.

The order is (q/p, tx, ty, x, y), with q/p in units of the true 1/p: what is known of the slopes and places follows from
the momentum, not the other way round. A covariance becomes five logarithms of standard deviations and ten partial
correlations as their inverse hyperbolic tangents, those of the factor of Cholesky (D. Lewandowski, D. Kurowicka,
H. Joe, J. Multivariate Anal. 100 (2009) 1989): whatever ten numbers these are, the matrix is positive definite.
Residuals become pulls w, with r = L w and C = L L^T. The axes stay those of the detector: one that measures x and y
gives errors that hardly correlate in these, while in any other frame they would.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from flashlink.flashsim.parameterizations.condition import Condition, Floats
from flashlink.flashsim.samples import TRACK_PARAMETERS

#: The order of the factor of Cholesky, and where its parameters are among `TRACK_PARAMETERS`.
ORDER = ("qop", "tx", "ty", "x", "y")
_PLACES = np.array([TRACK_PARAMETERS.index(name) for name in ORDER])
_BACK = np.argsort(_PLACES)

PULLS = tuple(f"pull {name}" for name in ORDER)
SIGMAS = tuple(f"log sigma {name}" for name in ORDER)
_ROWS, _COLUMNS = np.tril_indices(5, -1)
PARTIALS = tuple(
    f"partial {ORDER[row]} {ORDER[column]}" for row, column in zip(_ROWS, _COLUMNS, strict=True)
)  # fmt: skip

#: The largest partial correlation, as its inverse hyperbolic tangent: 0.99999.
LARGEST_PARTIAL = 6.1

#: What each variance grows by, in parts of itself, so that no rounding makes a matrix indefinite.
MARGIN = 1e-9


def encoded(residual: Floats, covariance: Floats, condition: Condition) -> dict[str, Floats]:
    """The variables of tracks.

    Args:
        residual: Of (x, y, tx, ty, q/p), shape (tracks, 5).
        covariance: Shape (tracks, 5, 5).
        condition: The true particles.

    Returns:
        `PULLS`, `SIGMAS` and `PARTIALS`, each of shape (tracks,).
    """
    unit = _units(condition)
    factor = np.linalg.cholesky((covariance / unit[:, :, None] / unit[:, None])[:, _PLACES][:, :, _PLACES])
    pulls = np.linalg.solve(factor, (residual / unit)[:, _PLACES, None])[:, :, 0]
    sigma = np.sqrt(np.square(factor).sum(axis=2))
    rows = factor / sigma[:, :, None]
    # What the columns before leave of a row, by Pythagoras.
    left = np.sqrt(np.maximum(1 - np.cumsum(np.square(rows), axis=2) + np.square(rows), 1e-300))
    partial = np.arctanh(np.clip(rows[:, _ROWS, _COLUMNS] / left[:, _ROWS, _COLUMNS], -1 + 1e-15, 1 - 1e-15))
    partial = np.clip(partial, -LARGEST_PARTIAL, LARGEST_PARTIAL)
    return (
        dict(zip(PULLS, pulls.T, strict=True))
        | dict(zip(SIGMAS, np.log(sigma).T, strict=True))
        | dict(zip(PARTIALS, partial.T, strict=True))
    )


def decoded(values: Mapping[str, Floats], condition: Condition) -> tuple[Floats, Floats]:
    """Residuals, shape (tracks, 5), and covariances, shape (tracks, 5, 5): the inverse of `encoded`."""
    count = len(condition)
    factor = np.zeros((count, 5, 5))
    partial = np.tanh(np.stack([np.clip(values[name], -LARGEST_PARTIAL, LARGEST_PARTIAL) for name in PARTIALS]))
    left = np.ones((5, count))
    for number, (row, column) in enumerate(zip(_ROWS.tolist(), _COLUMNS.tolist(), strict=True)):
        factor[:, row, column] = partial[number] * left[row]
        left[row] *= np.sqrt(1 - np.square(partial[number]))
    for row, name in enumerate(SIGMAS):
        factor[:, row, row] = left[row]
        factor[:, row] *= np.exp(values[name])[:, None]
    back = factor[:, _BACK] * _units(condition)[:, :, None]
    # Written out, since a product of matrices sums in an order that depends on their number.
    residual = sum(back[:, :, column] * values[name][:, None] for column, name in enumerate(PULLS))
    covariance = sum(back[:, :, None, column] * back[:, None, :, column] for column in range(5))
    covariance = np.asarray(covariance)
    covariance[:, range(5), range(5)] *= 1 + MARGIN
    return np.asarray(residual), covariance


def _units(condition: Condition) -> Floats:
    """What (x, y, tx, ty, q/p) are in units of, shape (particles, 5)."""
    units = np.ones((len(condition), 5))
    units[:, 4] = 10**-condition.log_p
    return units
