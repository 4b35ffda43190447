"""What matter does to a particle: multiple scattering, energy loss, bremsstrahlung, absorption."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

#: Mean energy loss of a minimum-ionising particle and the width of its Landau fluctuation, MeV per radiation length,
#: for the mixture of silicon, carbon, aluminium and plastic of trackers (PDG, atomic and nuclear properties).
MEAN_LOSS = 50.0
LOSS_WIDTH = 2.6

#: Mean of the Moyal distribution, which stands for Landau's.
_MOYAL_MEAN = np.euler_gamma + np.log(2)


def path(state: Floats) -> Floats:
    """Length of the path through a plane, in thicknesses of it: sqrt(1 + tx² + ty²)."""
    return np.asarray(np.sqrt(1 + state[2] ** 2 + state[3] ** 2))


def momentum(state: Floats) -> Floats:
    """MeV."""
    return np.asarray(1 / np.abs(state[4]))


def scattering_angle(p: Floats, mass: npt.ArrayLike, radiation: Floats) -> Floats:
    """Width of the projected angle of multiple scattering by Highland's formula (PDG, passage of particles, 34.16).

    Args:
        p: Momentum, MeV.
        mass: MeV.
        radiation: Radiation lengths on the path; 0 gives 0.
    """
    energy = np.sqrt(p * p + np.square(mass))
    amount = np.maximum(radiation, 1e-9)
    angle = 13.6 * energy / (p * p) * np.sqrt(amount) * (1 + 0.038 * np.log(amount))
    return np.where(radiation > 0, np.maximum(angle, 0), 0)


def scatter(state: Floats, angle: Floats, normals: Floats) -> None:
    """Turn states by random angles, in place.

    Args:
        state: Shape (5, n).
        angle: Width of the projected angle, shape (n,).
        normals: Standard normal numbers, shape (2, n).
    """
    tx, ty = state[2].copy(), state[3].copy()
    size = path(state) * angle
    width = np.sqrt(1 + tx * tx)
    state[2] += size * width * normals[0]
    state[3] += size * (tx * ty / width * normals[0] + np.sqrt(1 + tx * tx + ty * ty) / width * normals[1])


def scattering_covariance(state: Floats, angle: Floats) -> tuple[Floats, Floats, Floats]:
    """What `scatter` adds to the covariances of (tx, tx), (ty, tx) and (ty, ty)."""
    tx, ty = state[2], state[3]
    size = (1 + tx * tx + ty * ty) * angle * angle
    return size * (1 + tx * tx), size * tx * ty, size * (1 + ty * ty)


def lose_energy(p: Floats, mass: npt.ArrayLike, radiation: Floats, normals: Floats | None = None) -> Floats:
    """Momentum after ionisation; with a negative `radiation`, before it.

    Args:
        p: Momentum, MeV.
        mass: MeV.
        radiation: Radiation lengths on the path.
        normals: Standard normal numbers for the fluctuation, shape (n,); without them the mean loss.
    """
    square = np.square(mass)
    energy = np.sqrt(p * p + square)
    inverse_beta_square = 1 + square / (p * p)
    loss = MEAN_LOSS * radiation * np.minimum(inverse_beta_square, 5)
    if normals is not None:
        # minus the logarithm of the square of a normal number is Moyal-distributed
        loss += LOSS_WIDTH * radiation * inverse_beta_square * (-np.log(normals * normals) - _MOYAL_MEAN)
    left = np.maximum(energy - np.where(radiation > 0, np.maximum(loss, 0), loss), np.sqrt(square) + 1)
    return np.asarray(np.sqrt(left * left - square))


def radiate(p: Floats, radiation: Floats, uniform: Floats) -> Floats:
    """Momentum of electrons after bremsstrahlung, by the law of Bethe and Heitler.

    -ln(E'/E) has a gamma distribution of shape t/ln 2 after t radiation lengths.
    """
    logarithm = special.gammaincinv(np.maximum(radiation, 1e-6) / np.log(2), uniform)
    return np.asarray(p * np.exp(-logarithm))
