"""Covariances as numbers without bounds, and back: logarithms of standard deviations, and partial correlations.

A covariance of k variables becomes k logarithms of standard deviations and k (k - 1) / 2 partial correlations as their
inverse hyperbolic tangents, those of the factor of Cholesky (D. Lewandowski, D. Kurowicka, H. Joe, J. Multivariate
Anal. 100 (2009) 1989): whatever numbers these are, the matrix is positive definite.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flashlink.flashsim.parameterizations.condition import Floats

#: The largest partial correlation, as its inverse hyperbolic tangent: 0.99999.
LARGEST_PARTIAL = 6.1

#: What each variance grows by, in parts of itself, so that no rounding makes a matrix indefinite.
MARGIN = 1e-9


def names(variables: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How the numbers are called: of the standard deviations, and of the partial correlations row by row."""
    partials = tuple(f"partial {variables[row]} {variables[column]}" for row, column in _below(len(variables)))
    return tuple(f"log sigma {name}" for name in variables), partials


def _below(size: int) -> list[tuple[int, int]]:
    """Rows and columns below the diagonal, row by row, as `np.tril_indices` has them."""
    return [(row, column) for row in range(size) for column in range(row)]


def encoded(covariance: Floats) -> tuple[Floats, Floats, Floats]:
    """The numbers of covariances, shape (rows, k, k).

    Returns:
        Logarithms of the standard deviations, shape (k, rows), partial correlations, shape (k (k - 1) / 2, rows), and
        the factors of Cholesky, shape (rows, k, k).
    """
    below = np.tril_indices(covariance.shape[1], -1)
    factor = np.linalg.cholesky(covariance).astype(np.float64)
    sigma = np.sqrt(np.square(factor).sum(axis=2))
    rows = factor / sigma[:, :, None]
    # What the columns before leave of a row, by Pythagoras.
    left = np.sqrt(np.maximum(1 - np.cumsum(np.square(rows), axis=2) + np.square(rows), 1e-300))
    partial = np.arctanh(np.clip(rows[:, *below] / left[:, *below], -1 + 1e-15, 1 - 1e-15))
    return np.log(sigma).T, np.clip(partial, -LARGEST_PARTIAL, LARGEST_PARTIAL).T, factor


def factors(log_sigma: Sequence[Floats], partials: Sequence[Floats]) -> Floats:
    """Factors of Cholesky, shape (k, k, rows): the inverse of `encoded`.

    Rows are the last axis, here and in what takes factors, so that every operation is one of long vectors.
    """
    size, count = len(log_sigma), len(log_sigma[0])
    factor = np.zeros((size, size, count))
    partial = np.tanh(np.clip(np.stack(partials), -LARGEST_PARTIAL, LARGEST_PARTIAL))
    left = np.ones((size, count))
    for number, (row, column) in enumerate(_below(size)):
        factor[row, column] = partial[number] * left[row]
        left[row] *= np.sqrt(1 - np.square(partial[number]))
    for row, values in enumerate(log_sigma):
        factor[row, row] = left[row]
        factor[row] *= np.exp(values)
    return factor


def covariance(factor: Floats) -> Floats:
    """Covariances of factors, shape (rows, k, k), positive definite also after rounding."""
    size, _, count = factor.shape
    found = np.empty((count, size, size))
    for row in range(size):
        for column in range(row + 1):
            # Written out, since a product of matrices sums in an order that depends on their number.
            found[:, row, column] = found[:, column, row] = _sum(factor[row], factor[column])
    found[:, range(size), range(size)] *= 1 + MARGIN
    return found


def residual(factor: Floats, pulls: Sequence[Floats]) -> Floats:
    """Residuals of pulls, shape (rows, k): products of factors and pulls, summed in one order."""
    return np.stack([_sum(row, pulls) for row in factor], axis=1)


def _sum(left: Sequence[Floats] | Floats, right: Sequence[Floats] | Floats) -> Floats:
    """The sum of products, in their order."""
    return np.asarray(sum(one * other for one, other in zip(left, right, strict=True)))


def pulls(factor: Floats, residuals: Floats) -> Floats:
    """Pulls of residuals, shape (k, rows): the inverse of `residual`."""
    return np.asarray(np.linalg.solve(factor, residuals[:, :, None])[:, :, 0].T)
