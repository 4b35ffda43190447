"""Learned primary vertices: errors, correlations and pulls, given what the tracks of the event know of a vertex."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flashlink.flashsim.learned import covariance as numbers
from flashlink.flashsim.learned.chain import Chain
from flashlink.flashsim.parameterizations.condition import Floats
from flashlink.flashsim.parameterizations.event import EventCondition
from flashlink.flashsim.random import Draws

#: Columns of `event_features`.
EVENT_FEATURES = ("multiplicity", "log multiplicity", "log prompt", "log displaced", "prompt", "displaced")

#: Columns of `vertex_features`.
FEATURES = (*EVENT_FEATURES, "log information x", "log information y", "log information z")

#: The order of the factor of Cholesky: z first, on whose error those of x and y hardly depend.
ORDER = ("z", "x", "y")
_PLACES = np.array(["xyz".index(name) for name in ORDER])
_BACK = np.argsort(_PLACES)

SIGMAS, PARTIALS = numbers.names(ORDER)
PULLS = tuple(f"pull {name}" for name in ORDER)

#: Added to the information, 1/mm^2, so that an event without a track has a logarithm of it.
_LEAST_INFORMATION = np.array([1.0, 1.0, 1e-4])


def event_features(condition: EventCondition) -> Floats:
    """Multiplicity and numbers of tracks, shape (events, 6)."""
    counts = condition.multiplicity, condition.prompt, condition.displaced
    logarithms = [np.log1p(count) for count in counts]
    return np.stack([counts[0] / 100, *logarithms, counts[1] / 50, counts[2] / 10], axis=1)


def vertex_features(condition: EventCondition) -> Floats:
    """`event_features` and how well the tracks know a vertex, shape (events, 9)."""
    return np.concatenate([event_features(condition), np.log(condition.information + _LEAST_INFORMATION)], axis=1)


def encoded(residual: Floats, covariance: Floats) -> dict[str, Floats]:
    """The variables of vertices: from residuals in mm, shape (events, 3), and covariances, shape (events, 3, 3)."""
    log_sigma, partials, factor = numbers.encoded(covariance[:, _PLACES][:, :, _PLACES])
    columns = np.concatenate([log_sigma, partials, numbers.pulls(factor, residual[:, _PLACES])])
    return dict(zip((*SIGMAS, *PARTIALS, *PULLS), columns, strict=True))


@dataclass(frozen=True)
class LearnedVertex:
    """`flashlink.flashsim.parameterizations.interface.VertexModel` by a chain."""

    chain: Chain

    def sample(self, condition: EventCondition, draws: Draws) -> tuple[Floats, Floats]:
        """Draw residuals in mm, shape (events, 3), and covariances, shape (events, 3, 3)."""
        uniform = draws.uniform("simulate/vertex", len(self.chain.variables))
        values = self.chain.sample(vertex_features(condition), uniform)
        factor = numbers.factors([values[name] for name in SIGMAS], [values[name] for name in PARTIALS])[_BACK]
        return numbers.residual(factor, [values[name] for name in PULLS]), numbers.covariance(factor)
