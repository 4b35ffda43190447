"""The particle gun: single particles of chosen kind, momentum and direction, as a generated sample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.files import Columns
from flashlink.flashsim.random import Stream
from flashlink.flashsim.samples import GENERATED

#: Classes that the gun fires: PDG number to mass in MeV (PDG 2024) and sign of the charge.
_MASSES = {11: 0.51099895, 13: 105.6583755, 211: 139.57039, 321: 493.677, 2212: 938.27208816}
_NEGATIVE = (11, 13)


def fire(
    count: int,
    pdg: int,
    momentum: tuple[float, float],
    eta: tuple[float, float],
    seed: int,
    *,
    first_event: int = 0,
    per_event: int = 50,
    spot: tuple[float, float, float] = (0.03, 0.03, 40.0),
) -> Columns:
    """Fire particles and antiparticles alike from a beam spot.

    Args:
        count: How many.
        pdg: PDG number: 11, 13, 211, 321 or 2212; half of the particles are antiparticles.
        momentum: Range in MeV, even in the logarithm; equal ends give one momentum.
        eta: Range of the pseudorapidity, even.
        seed: Seed of the production.
        first_event: Number of the first event.
        per_event: Particles in an event: they share its vertex, and it is its multiplicity.
        spot: Standard deviations of the vertices in x, y, z, mm.

    Returns:
        The columns of a generated sample.
    """
    number = np.arange(count)
    event, particle = first_event + number // per_event, number % per_event
    chance = Stream(seed, f"gun/{pdg}").uniform(event, particle, 4)
    p = momentum[0] * (momentum[1] / momentum[0]) ** chance[0]
    rapidity = eta[0] + (eta[1] - eta[0]) * chance[1]
    angle = 2 * np.pi * chance[2]
    transverse = p / np.cosh(rapidity)
    sign = np.where(chance[3] < 0.5, 1, -1)
    place = np.array(spot)[:, None] * Stream(seed, "gun/spot").normal(event, 0, 3)
    columns: dict[str, npt.ArrayLike] = {
        "event": event,
        "particle": particle,
        "mother": np.full(count, -1),
        "pdg": sign * pdg,
        "charge": -sign if pdg in _NEGATIVE else sign,
        "stable": np.ones(count),
        "signal": np.zeros(count),
        "px": transverse * np.cos(angle),
        "py": transverse * np.sin(angle),
        "pz": p * np.tanh(rapidity),
        "energy": np.hypot(p, _MASSES[pdg]),
        "multiplicity": np.full(count, per_event),
    }
    columns |= dict(zip("xyz", place, strict=True))
    columns |= dict(zip(("pv_x", "pv_y", "pv_z"), place, strict=True))
    return {name: np.asarray(columns[name]).astype(dtype) for name, dtype in GENERATED.items()}
