"""Learned photons: whether one makes a cluster and of what energy, then place, covariance and likelihood jointly.

The energy is drawn beside the efficiency, by a network that does not have to know how sharply all else follows from it.

Residuals and errors are along and across the direction from the beam: the depth of a shower moves its place along it,
so there the two hardly correlate. That direction is of the true place for residuals, of the cluster's for its errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from flashlink.flashsim.learned import covariance as numbers
from flashlink.flashsim.learned.chain import Chain
from flashlink.flashsim.parameterizations.condition import Floats, Integers
from flashlink.flashsim.parameterizations.photons import Clusters, PhotonCondition
from flashlink.flashsim.random import Draws

#: Columns of `features`.
FEATURES = (
    "log E", "1/sqrt(E)", "x", "y", "abs x", "abs y", "log abs x", "log abs y", "tx", "ty", "path",
    "origin z", "origin rho", "log origin rho", "multiplicity",
)  # fmt: skip

#: What the cluster is conditioned on besides: `measured`.
MEASURED = (*FEATURES, "measured E / true E", "log measured E", "1/sqrt(measured E)")

#: The variable that is drawn beside the efficiency.
RATIO = "log energy ratio"

#: The order of the factor of Cholesky: the energy first, on whose error those of the place depend.
ORDER = ("energy", "along", "across")

#: Where these are among along, across, energy.
_PLACES = np.array([2, 0, 1])
_BACK = np.argsort(_PLACES)

SIGMAS, PARTIALS = numbers.names(ORDER)

#: Those of a cluster besides: the errors, then what is in units of them.
VARIABLES = (*SIGMAS, *PARTIALS, "pull along", "pull across", "photon_dll")

#: A cluster that lost more of its energy would not be found: the least ratio to the true one.
_LEAST_RATIO = 0.01


class PhotonRanges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the training of photons had.

    Attributes:
        z: Of the calorimeter's face, mm.
        energy: log10 of the energy in MeV of its photons, from the least to the largest but for one in a thousand.
        reach: The largest absolute x and y of a photon that made a cluster, mm: beyond them none does.
    """

    z: float
    energy: tuple[float, float]
    reach: tuple[float, float]

    @classmethod
    def of(cls, z: float, condition: PhotonCondition, made: Integers) -> PhotonRanges:
        """Of all photons of a training, and of those that made a cluster."""
        low, high = np.quantile(condition.log_e, [0.0005, 0.9995])
        places = (float(np.abs(place[made]).max()) for place in (condition.x, condition.y))
        return cls(z, (float(low), float(high)), (next(places), next(places)))


def features(condition: PhotonCondition) -> Floats:
    """What a network sees of photons, shape (photons, 15)."""
    distances = np.abs(condition.x), np.abs(condition.y)
    return np.stack(
        [
            condition.log_e - 3.5,
            np.sqrt(10 ** (3 - condition.log_e)),
            condition.x / 1000,
            condition.y / 1000,
            *(distance / 1000 for distance in distances),
            *(np.log10(np.maximum(distance, 10.0)) - 2.5 for distance in distances),
            10 * condition.tx,
            10 * condition.ty,
            np.sqrt(1 + np.square(condition.tx) + np.square(condition.ty)) - 1,
            np.arcsinh(condition.origin_z / 50),
            condition.origin_rho / 10,
            np.log1p(condition.origin_rho),
            condition.multiplicity / 100,
        ],
        axis=1,
    )


def measured(condition: PhotonCondition, ratio: Floats) -> Floats:
    """The last columns of `MEASURED`, of clusters, from `RATIO`; shape (clusters, 3)."""
    log_e = condition.log_e + ratio / np.log(10)
    return np.stack([10 * ratio, log_e - 3.5, np.sqrt(10 ** (3 - log_e))], axis=1)


def encoded(clusters: Clusters, condition: PhotonCondition) -> dict[str, Floats]:
    """`RATIO` and `VARIABLES` of clusters, each of shape (clusters,); the condition is that of their photons."""
    away = _turned(clusters.residual, _direction(condition.x, condition.y), back=False)
    axes = _direction(condition.x + clusters.residual[:, 0], condition.y + clusters.residual[:, 1])
    matrices = _turned(_turned(clusters.covariance, axes, back=False).transpose(0, 2, 1), axes, back=False)
    log_sigma, partials, _ = numbers.encoded(matrices[:, _PLACES][:, :, _PLACES])
    return {
        RATIO: np.log(np.maximum(1 + clusters.residual[:, 2], _LEAST_RATIO)),
        **dict(zip((*SIGMAS, *PARTIALS), np.concatenate([log_sigma, partials]), strict=True)),
        "pull along": away[:, 0] / np.exp(log_sigma[1]),
        "pull across": away[:, 1] / np.exp(log_sigma[2]),
        "photon_dll": clusters.dll,
    }


def decoded(values: Mapping[str, Floats], condition: PhotonCondition) -> Clusters:
    """Clusters: the inverse of `encoded`."""
    away = np.stack(
        [
            values["pull along"] * np.exp(values[SIGMAS[1]]),
            values["pull across"] * np.exp(values[SIGMAS[2]]),
            np.exp(values[RATIO]) - 1,
        ],
        axis=1,
    )
    residual = _turned(away, _direction(condition.x, condition.y), back=True)
    factor = numbers.factors([values[name] for name in SIGMAS], [values[name] for name in PARTIALS])[_BACK]
    axes = _direction(condition.x + residual[:, 0], condition.y + residual[:, 1])
    turned = _turned(factor.transpose(2, 0, 1), axes, back=True).transpose(1, 2, 0)
    return Clusters(residual, numbers.covariance(turned), values["photon_dll"])


def _direction(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Cosine and sine of the azimuth of places."""
    azimuth = np.arctan2(y, x)
    return np.cos(azimuth), np.sin(azimuth)


def _turned(values: Floats, direction: tuple[Floats, Floats], *, back: bool) -> Floats:
    """What has (x, y, energy) along its second axis, turned to (along, across, energy), or back."""
    shape = (-1, *[1] * (values.ndim - 2))
    cosine, sine = (part.reshape(shape) for part in direction)
    sine = -sine if back else sine
    turned = values.copy(order="K")
    turned[:, 0] = cosine * values[:, 0] + sine * values[:, 1]
    turned[:, 1] = cosine * values[:, 1] - sine * values[:, 0]
    return turned


@dataclass(frozen=True)
class LearnedPhotons:
    """`flashlink.flashsim.parameterizations.interface.PhotonModel` by two chains.

    Attributes:
        found: Of whether a photon makes a cluster, and the ratio of its energy to the true one.
        chain: Of all else of the cluster.
        ranges: What the training had.
    """

    found: Chain
    chain: Chain
    ranges: PhotonRanges

    @property
    def z(self) -> float:
        """Of the calorimeter's face, mm."""
        return self.ranges.z

    def sample(self, condition: PhotonCondition, draws: Draws) -> tuple[Integers, Clusters]:
        """Draw which of the photons have a cluster, in increasing order, and the clusters."""
        reach = self.ranges.reach
        inside = np.flatnonzero((np.abs(condition.x) <= reach[0]) & (np.abs(condition.y) <= reach[1]))
        seen, draws = features(condition[inside]), draws[inside]
        drawn = self.found.sample(seen, draws.uniform("simulate/photon", len(self.found.variables)))
        made = np.flatnonzero(drawn["cluster"])
        rows, ratio = inside[made], drawn[RATIO][made]
        condition = condition[rows]
        seen = np.concatenate([seen[made], measured(condition, ratio)], axis=1)
        uniform = draws[made].uniform("simulate/cluster", len(self.chain.variables))
        return rows, decoded({**self.chain.sample(seen, uniform), RATIO: ratio}, condition)

    def in_range(self, condition: PhotonCondition) -> npt.NDArray[np.bool_]:
        """Whether the energy is one of the training's and the place is where clusters were."""
        low, high = self.ranges.energy
        inside = (np.abs(condition.x) <= self.ranges.reach[0]) & (np.abs(condition.y) <= self.ranges.reach[1])
        return np.asarray((condition.log_e >= low) & (condition.log_e <= high) & inside)
