"""What a condition looks like to a network: straight-line kinematics, in numbers of order one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import SPECIES, Condition, Floats
from flashlink.flashsim.parameterizations.efficiency import OUTCOMES

Singles = npt.NDArray[np.float32]

#: The features of a condition, in the order of the columns of `features`.
FEATURES = (
    *(f"is {name}" for name in SPECIES),
    "charge", "log p", "1/p", "charge/p", "eta", "sinh eta", "cos phi", "sin phi", "cos 2phi", "sin 2phi",
    "charge cos phi", "tx", "ty", "origin z", "origin rho", "closest z", "line z", "impact", "multiplicity",
)  # fmt: skip

#: What says whether a particle is like those of the training, each with what counts as the same; `Ranges` holds them.
RANGED = ("log_p", "eta", "origin_z", "origin_rho", "multiplicity")


def features(condition: Condition) -> Floats:
    """The features of particles, shape (particles, 24).

    Lengths that span decades enter by their inverse hyperbolic sine. A line that passes the beam at ``closest z``
    meets a cylinder of radius r at ``closest z`` + r ``sinh eta``, so planes that it crosses are linear in these two.
    """
    inverse = 10 ** (4 - condition.log_p)
    slope = 1 / np.sinh(np.clip(condition.eta, 0.5, 8))
    cosine, sine = np.cos(condition.phi), np.sin(condition.phi)
    return np.stack(
        [
            *(condition.species == number for number in range(len(SPECIES))),
            condition.charge,
            condition.log_p - 4,
            inverse,
            condition.charge * inverse,
            condition.eta - 3.5,
            1 / slope / 25,
            cosine,
            sine,
            np.cos(2 * condition.phi),
            np.sin(2 * condition.phi),
            condition.charge * cosine,
            10 * slope * cosine,
            10 * slope * sine,
            np.arcsinh(condition.origin_z / 50),
            np.log1p(condition.origin_rho),
            np.arcsinh(condition.closest_z / 50),
            np.clip(condition.closest_z, -500, 2000) / 250,
            np.arcsinh(10 * condition.impact),
            condition.multiplicity / 100,
        ],
        axis=1,
        dtype=np.float64,
    )


def one_hot(category: npt.NDArray[np.int8]) -> Floats:
    """The category of tracks as columns of zeros and ones, shape (tracks, 3)."""
    return np.asarray(category[:, None] == OUTCOMES[1:], dtype=np.float64)


@dataclass(frozen=True)
class Ranges:
    """What the training had of each species, from the least to the largest but for one in a thousand.

    Attributes:
        low: Shape (species, `RANGED`).
        high: The same; below `low` where there was too little training.
    """

    low: Floats
    high: Floats

    @classmethod
    def of(cls, condition: Condition) -> Ranges:
        """The ranges of a training sample."""
        shape = (len(SPECIES), len(RANGED))
        low, high = np.full(shape, 1.0), np.full(shape, 0.0)
        for number in range(len(SPECIES)):
            rows = condition.species == number
            if rows.sum() >= LEAST_SPECIES:
                values = np.stack([getattr(condition, name)[rows] for name in RANGED], axis=1)
                low[number], high[number] = np.quantile(values, [0.0005, 0.9995], axis=0)
        return cls(low, high)

    def inside(self, condition: Condition) -> npt.NDArray[np.bool_]:
        """Which particles are like those of the training, shape (particles,)."""
        values = np.stack([getattr(condition, name) for name in RANGED], axis=1)
        low, high = self.low[condition.species], self.high[condition.species]
        return np.asarray(((values >= low) & (values <= high)).all(axis=1))


#: Training particles of a species, at least, for it to count as known.
LEAST_SPECIES = 100


#: Momenta in MeV from which is_muon asks for more chambers (LHCb's rule, JINST 8 (2013) P10020). The share of hadrons
#: that have it by chance falls there at once, which a network that sees the momentum alone smears.
_CHAMBERS = (3000.0, 6000.0, 10000.0)

#: What the identification is conditioned on besides features and category: the momentum as measured.
MEASURED = (
    "measured p / true p",
    "log measured p",
    *(f"measured p > {momentum / 1000:g} GeV" for momentum in _CHAMBERS),
)


def measured(condition: Condition, residual: Floats) -> Floats:
    """The columns `MEASURED`, from the residual of q/p in 1/MeV, shape (tracks, 5)."""
    log_p = -np.log10(np.maximum(np.abs(condition.charge / 10**condition.log_p + residual), 1e-12))
    above = [log_p > np.log10(momentum) for momentum in _CHAMBERS]
    return np.stack([np.arcsinh(100 * (log_p - condition.log_p)), log_p - 4, *above], axis=1)
