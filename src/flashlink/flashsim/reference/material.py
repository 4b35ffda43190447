"""What matter does to a particle: multiple scattering, energy loss, bremsstrahlung, absorption."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

#: Mean energy loss of a minimum-ionising particle, MeV per radiation length, for the mixture of silicon, carbon,
#: aluminium and plastic of trackers: these have 36, 74, 39 and 85 (PDG, atomic and nuclear properties).
MEAN_LOSS = 50.0

#: Width of the Moyal distribution that stands for Landau's, MeV per radiation length: 1.12 xi, where both are as wide
#: at half of their height; xi is 0.1535 MeV cm^2/g Z/A X0, 4.3 to 4.6 % of the mean in these materials (PDG,
#: fluctuations in energy loss).
LOSS_WIDTH = 2.6

#: Mean of the Moyal distribution of unit width around 0.
_MOYAL_MEAN = np.euler_gamma + np.log(2)

#: Largest 1/beta^2 by which the mean loss grows: below a beta of 0.45 a particle is nearly lost.
_LARGEST_GROWTH = 5


def path(state: Floats) -> Floats:
    """Length of the path through a plane, in thicknesses of it: sqrt(1 + tx² + ty²)."""
    return np.asarray(np.sqrt(1 + state[2] ** 2 + state[3] ** 2))


def momentum(state: Floats) -> Floats:
    """MeV."""
    return np.asarray(1 / np.abs(state[4]))


def scattering_angle(p: Floats, mass: npt.ArrayLike, radiation: Floats) -> Floats:
    """Width of the projected angle of multiple scattering, rad, by Highland's formula.

    V. L. Highland, Nucl. Instrum. Methods 129 (1975) 497, with the constants of G. R. Lynch, O. I. Dahl, Nucl. Instrum.
    Methods B 58 (1991) 6 (PDG, passage of particles, 34.16), but for the 1/beta^2 in its logarithm: less than 1 % for
    protons of 2 GeV, nothing for pions. Added up over thin layers it gives less than for all of them at once.

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
    """Momentum after ionisation, MeV; with a negative `radiation`, before it.

    The mean grows as 1/beta^2, without the relativistic rise; never less than 1 MeV of kinetic energy is left.

    Args:
        p: Momentum, MeV.
        mass: MeV.
        radiation: Radiation lengths on the path.
        normals: Standard normal numbers for the fluctuation, shape (n,); without them the mean loss.
    """
    square = np.square(mass)
    energy = np.sqrt(p * p + square)
    inverse_beta_square = 1 + square / (p * p)
    loss = MEAN_LOSS * radiation * np.minimum(inverse_beta_square, _LARGEST_GROWTH)
    if normals is not None:
        # minus the logarithm of the square of a normal number is Moyal-distributed
        loss += LOSS_WIDTH * radiation * inverse_beta_square * (-np.log(normals * normals) - _MOYAL_MEAN)
    left = np.maximum(energy - np.where(radiation > 0, np.maximum(loss, 0), loss), np.sqrt(square) + 1)
    return np.asarray(np.sqrt(left * left - square))


def radiate(p: Floats, radiation: Floats, uniform: Floats) -> Floats:
    """Momentum of electrons after bremsstrahlung, MeV, by the law of Bethe and Heitler.

    -ln(E'/E) has a gamma distribution of shape t/ln 2 after t radiation lengths.

    Args:
        p: Momentum, MeV; the mass does not matter.
        radiation: Radiation lengths on the path.
        uniform: Random numbers in (0, 1).
    """
    logarithm = special.gammaincinv(np.maximum(radiation, 1e-6) / np.log(2), uniform)
    return np.asarray(p * np.exp(-logarithm))
