"""Tracks as numbers without bounds that a network can draw, and back.

The order is (q/p, tx, ty, x, y), with q/p in units of the true 1/p: what is known of the slopes and places follows from
the momentum, not the other way round. A covariance becomes the numbers of `flashlink.flashsim.learned.covariance`.
Residuals become pulls w, with r = L w and C = L L^T. The axes stay those of the detector: one that measures x and y
gives errors that hardly correlate in these, while in any other frame they would.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from flashlink.flashsim.learned import covariance as covariance_numbers
from flashlink.flashsim.parameterizations.condition import Condition, Floats
from flashlink.flashsim.samples import TRACK_PARAMETERS

#: The order of the factor of Cholesky, and where its parameters are among `TRACK_PARAMETERS`.
ORDER = ("qop", "tx", "ty", "x", "y")
_PLACES = np.array([TRACK_PARAMETERS.index(name) for name in ORDER])
_BACK = np.argsort(_PLACES)

PULLS = tuple(f"pull {name}" for name in ORDER)
SIGMAS, PARTIALS = covariance_numbers.names(ORDER)


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
    matrices = (covariance / unit[:, :, None] / unit[:, None])[:, _PLACES][:, :, _PLACES]
    log_sigma, partials, factor = covariance_numbers.encoded(matrices)
    pulls = covariance_numbers.pulls(factor, (residual / unit)[:, _PLACES])
    return (
        dict(zip(PULLS, pulls, strict=True))
        | dict(zip(SIGMAS, log_sigma, strict=True))
        | dict(zip(PARTIALS, partials, strict=True))
    )


def decoded(values: Mapping[str, Floats], condition: Condition) -> tuple[Floats, Floats]:
    """Residuals, shape (tracks, 5), and covariances, shape (tracks, 5, 5): the inverse of `encoded`."""
    factor = covariance_numbers.factors([values[name] for name in SIGMAS], [values[name] for name in PARTIALS])
    back = factor[_BACK] * _units(condition).T[:, None]
    residual = covariance_numbers.residual(back, [values[name] for name in PULLS])
    return residual, covariance_numbers.covariance(back)


def _units(condition: Condition) -> Floats:
    """What (x, y, tx, ty, q/p) are in units of, shape (particles, 5)."""
    units = np.ones((len(condition), 5))
    units[:, 4] = 10**-condition.log_p
    return units
