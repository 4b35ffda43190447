"""Decays in flight of charged pions and kaons: where, and into what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import KAON, MUON, PION

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Masses in MeV and c tau in mm (PDG 2024) of `SPECIES`; what does not decay on its way has an infinite life.
MASSES = np.array([0.51099895, 105.6583755, 139.57039, 493.677, 938.27208816])
LIVES = np.array([np.inf, np.inf, 7804.5, 3711.0, np.inf])


@dataclass(frozen=True)
class Channel:
    """A decay into one charged particle and one neutral one.

    Attributes:
        mother: Species.
        daughter: Species of the charged one.
        neutral: Mass of the neutral one, MeV.
        fraction: Cumulative branching fraction among the channels of the mother.
    """

    mother: int
    daughter: int
    neutral: float
    fraction: float

    def energy(self) -> float:
        """Energy of the charged daughter in the rest frame of the mother, MeV."""
        mother, daughter = MASSES[self.mother], MASSES[self.daughter]
        return float((mother**2 + daughter**2 - self.neutral**2) / (2 * mother))


#: Branching fractions of the PDG, 2024. Other decays of the kaon have three particles or more: they are taken to end
#: the track.
CHANNELS = (
    Channel(PION, MUON, 0.0, 1.0),
    Channel(KAON, MUON, 0.0, 0.6356),
    Channel(KAON, PION, 134.9768, 0.6356 + 0.2067),
)


def decay_place(species: Integers, p: Floats, z: Floats, path: Floats, uniform: Floats) -> Floats:
    """Z at which each particle decays if nothing stops it; infinite for a stable one, mm.

    Args:
        species: Of each particle.
        p: Momentum, MeV.
        z: Where it starts.
        path: Its length for each mm along z.
        uniform: Random numbers in (0, 1).
    """
    return np.asarray(z - np.log(uniform) * LIVES[species] * p / MASSES[species] / path)


def decay(species: Integers, state: Floats, uniform: Floats) -> tuple[Integers, Floats]:
    """Let particles decay.

    Args:
        species: Of each particle.
        state: Shape (5, n).
        uniform: Random numbers in (0, 1), shape (3, n).

    Returns:
        Species of the charged daughter, -1 where the track ends, and its state.
    """
    daughter = np.full(len(species), -1, dtype=np.int64)
    energy = np.full(len(species), MASSES[MUON])
    for channel in reversed(CHANNELS):
        chosen = (species == channel.mother) & (uniform[0] < channel.fraction)
        daughter[chosen] = channel.daughter
        energy[chosen] = channel.energy()
    rest = np.sqrt(np.maximum(energy**2 - MASSES[daughter] ** 2, 0))
    cosine, angle = 2 * uniform[1] - 1, 2 * np.pi * uniform[2]
    p = 1 / np.abs(state[4])
    gamma = np.sqrt(1 + (p / MASSES[species]) ** 2)
    along = gamma * rest * cosine + p / MASSES[species] * energy
    across = rest * np.sqrt(1 - cosine**2)
    return daughter, _turned(state, along, across * np.cos(angle), across * np.sin(angle))


def _turned(state: Floats, along: Floats, first: Floats, second: Floats) -> Floats:
    """States with momentum components along the old direction and along two directions across it."""
    tx, ty = state[2], state[3]
    norm, flat = np.sqrt(1 + tx * tx + ty * ty), np.sqrt(1 + tx * tx)
    px = along * tx / norm + first / flat - second * tx * ty / (flat * norm)
    py = along * ty / norm + second * flat / norm
    pz = along / norm - first * tx / flat - second * ty / (flat * norm)
    turned = state.copy()
    forward = np.maximum(pz, 1e-3)
    turned[2], turned[3] = px / forward, py / forward
    turned[4] = np.sign(state[4]) / np.sqrt(px**2 + py**2 + pz**2)
    return turned
