"""Resolution and covariance of the primary vertex against the multiplicity of its event."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import Floats
from flashlink.flashsim.parameterizations.event import EventCondition
from flashlink.flashsim.parameterizations.library import thinned
from flashlink.flashsim.random import Draws

#: h of `resolution.SMOOTHING`, for vertices.
SMOOTHING = 0.25

#: Training vertices that are kept, and those of similar multiplicity that an event chooses from.
MOST, WINDOW = 4000, 400


@dataclass(frozen=True)
class Vertex:
    """A power of the multiplicity for each coordinate, and a library of what residuals look like in units of it.

    Attributes:
        power: ln(typical residual / mm) = power[0] + power[1] ln(multiplicity + 1), shape (2, 3).
        multiplicity: Of each training vertex, in increasing order, shape (rows,).
        shape: Residuals of x, y, z in units of the typical one, shape (rows, 3).
        factor: Lower triangle of the Cholesky factor of their covariance, in the same units, shape (rows, 6).
        width: Half-width of the central 68 % of each column of `shape`, (3,).
    """

    power: Floats
    multiplicity: Floats
    shape: npt.NDArray[np.float32]
    factor: npt.NDArray[np.float32]
    width: Floats

    @classmethod
    def fit(cls, multiplicity: Floats, residual: Floats, covariance: Floats) -> Vertex:
        """Fit the power and keep the shape.

        Args:
            multiplicity: Of each training event, shape (events,).
            residual: Reconstructed minus true x, y, z in mm, shape (events, 3).
            covariance: As quoted for it, shape (events, 3, 3).
        """
        features = _features(multiplicity)
        # Exact zeros have no logarithm; the smallest positive float64 would pull the line far down.
        size = np.log(np.maximum(np.abs(residual), 1e-9))
        power = np.linalg.lstsq(features, size, rcond=None)[0].astype(np.float64)
        typical = np.exp(features @ power)
        shape = residual / typical
        factor = (np.linalg.cholesky(covariance) / typical[:, :, None])[:, *np.tril_indices(3)]
        # Not the standard deviation: tails would widen the core.
        width = np.quantile(np.abs(shape), 0.6827, axis=0)
        kept = thinned(np.argsort(multiplicity, kind="stable"), MOST)
        return cls(power, multiplicity[kept], shape[kept].astype(np.float32), factor[kept].astype(np.float32), width)

    def sample(self, condition: EventCondition, draws: Draws) -> tuple[Floats, Floats]:
        """Draw residuals in mm, shape (events, 3), and covariances, shape (events, 3, 3)."""
        multiplicity = condition.multiplicity
        uniform, normal = draws.uniform("simulate/vertex", 1)[0], draws.normal("simulate/vertex residual", 3)
        window = min(WINDOW, len(self.shape))
        begin = np.searchsorted(self.multiplicity, multiplicity) - window // 2
        row = begin.clip(0, len(self.shape) - window) + (uniform * window).astype(np.int64)
        shape = self.shape[row].astype(np.float64)
        smooth = np.sqrt(1 - SMOOTHING**2) * shape + SMOOTHING * self.width * normal.T
        typical = np.exp(_features(multiplicity) @ self.power)
        factor = np.zeros((len(row), 3, 3))
        factor[:, *np.tril_indices(3)] = self.factor[row]
        factor *= typical[:, :, None]
        # Written out, since a product of matrices sums in an order that depends on their number.
        return smooth * typical, np.asarray((factor[:, :, None, :] * factor[:, None, :, :]).sum(axis=-1))


def _features(multiplicity: Floats) -> Floats:
    return np.stack([np.ones_like(multiplicity), np.log1p(multiplicity)], axis=1)
