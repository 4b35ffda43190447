"""The polarisation of the J/psi from a B+: Pythia decays it evenly, angular momentum does not.

B+ and K+ have no spin, so the J/psi has none along its flight: helicity 0. Its muons then follow

    dN / d cos(theta) = 3/4 sin^2(theta),

theta being the angle of the mu+ to the flight of the J/psi, in the rest frame of the J/psi (the helicity angle; PDG,
Review of Particle Physics, "Kinematics"; M. Jacob and G. C. Wick, Ann. Phys. 7 (1959) 404).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.kinematics import pdg_mass
from flashlink.flashsim.random import Stream

Floats = npt.NDArray[np.float64]

_MUON = 13


def longitudinal_decays(b: Floats, psi: Floats, events: npt.NDArray[np.int64], seed: int) -> tuple[Floats, Floats]:
    """Decay each J/psi, of helicity 0 in the rest frame of its B, into mu+ mu-.

    Args:
        b: Energy and momentum (E, px, py, pz) of the B, shape (events, 4).
        psi: Those of its J/psi, in the same units: MeV.
        events: Numbers of the events, which key the random numbers.
        seed: Seed of the production.

    Returns:
        Energies and momenta of mu+ and mu-, each of shape (events, 4).
    """
    cosine, turn = Stream(seed, "generate/polarisation").uniform(events, 0, 2)
    cosine, turn = helicity_cosine(cosine), 2 * np.pi * turn
    sine = np.sqrt(1 - cosine**2)
    mass = np.sqrt(psi[:, 0] ** 2 - (psi[:, 1:] ** 2).sum(axis=1))
    velocity = psi[:, 1:] / psi[:, :1]
    # In the rest frame of the J/psi the B comes from ahead.
    flight = -boosted(b, -velocity)[:, 1:]
    flight /= np.linalg.norm(flight, axis=1, keepdims=True)
    # Any direction that is not along the flight gives the plane from which to turn.
    least = np.eye(3)[np.abs(flight).argmin(axis=1)]
    across = np.cross(flight, least)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    upright = np.cross(flight, across)
    direction = cosine[:, None] * flight
    direction += (sine * np.cos(turn))[:, None] * across + (sine * np.sin(turn))[:, None] * upright
    momentum = np.sqrt(mass**2 / 4 - pdg_mass(_MUON) ** 2)[:, None] * direction
    plus, minus = (np.column_stack([mass / 2, sign * momentum]) for sign in (1, -1))
    return boosted(plus, velocity), boosted(minus, velocity)


def helicity_cosine(uniform: Floats) -> Floats:
    """cos(theta) distributed as 3/4 sin^2(theta), from uniform numbers in [0, 1): the root of 2 + 3 c - c^3 = 4 u."""
    # Rounding may leave the range at its ends.
    return np.asarray(np.clip(2 * np.cos((np.arccos(1 - 2 * uniform) + 4 * np.pi) / 3), -1, 1))


def boosted(momenta: Floats, velocity: Floats) -> Floats:
    """Energies and momenta, shape (n, 4), from a frame that moves with `velocity`, shape (n, 3) in units of c."""
    gamma = 1 / np.sqrt(1 - (velocity**2).sum(axis=1))
    along = (velocity * momenta[:, 1:]).sum(axis=1)
    energy = gamma * (momenta[:, 0] + along)
    factor = gamma * (momenta[:, 0] + gamma / (gamma + 1) * along)
    return np.column_stack([energy, momenta[:, 1:] + factor[:, None] * velocity])
