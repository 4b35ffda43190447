"""The particle gun: single particles of chosen kind, momentum and direction, as a generated sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flashlink import __version__
from flashlink.errors import wrong
from flashlink.flashsim.acceptance import PHOTON
from flashlink.flashsim.files import Columns
from flashlink.flashsim.limits import LARGEST
from flashlink.flashsim.random import Stream
from flashlink.flashsim.samples import GENERATED

#: Classes that the gun fires: PDG number to mass in MeV (PDG 2024) and sign of the charge.
_MASSES = {11: 0.51099895, 13: 105.6583755, 211: 139.57039, 321: 493.677, 2212: 938.27208816, 22: 0.0}
_NEGATIVE = (11, 13)


#: Event numbers end here, as those of copies begin.
_LAST = 1 << 40

#: Particles of a piece of a sample, about.
_ROWS = 100_000


@dataclass(frozen=True)
class Fired:
    """What a gun makes.

    Attributes:
        parts: The columns of `flashlink.flashsim.samples.GENERATED`, in pieces of whole events.
        metadata: What makes them.
    """

    parts: Iterator[Columns]
    metadata: dict[str, Any]


def fire_events(
    events: int, pdg: int, momentum: tuple[float, float], eta: tuple[float, float], seed: int,
    *, first_event: int = 0, per_event: int = 50,
) -> Fired:  # fmt: skip
    """Fire whole events, with what to note of them; arguments are those of `fire`.

    Raises:
        RequestError: A number is out of range.
    """
    for name, value in (("events", events), ("particles in an event", per_event)):
        if value < 1:
            raise wrong(name, value, "a positive number")
    if per_event > LARGEST["multiplicity"]:
        raise wrong("particles in an event", per_event, f"at most {LARGEST['multiplicity']:g}")
    if not 0 <= first_event <= first_event + events <= _LAST:
        raise wrong("first event", first_event, f"from 0 on, with {events} events to {_LAST} at most")
    if not 0 < momentum[0] <= momentum[1] < np.inf:
        raise wrong("momenta of the gun", momentum, "a range of positive numbers in MeV, the smaller one first")
    if not -10 <= eta[0] <= eta[1] <= 10:
        raise wrong("pseudorapidities of the gun", eta, "a range within -10 and 10, the smaller one first")
    block = max(_ROWS // per_event, 1)
    parts = (
        fire(
            min(block, events - start) * per_event, pdg, momentum, eta, seed,
            first_event=first_event + start, per_event=per_event,
        )
        for start in range(0, events, block)
    )  # fmt: skip
    gun = {"pdg": pdg, "p_mev": list(momentum), "eta": list(eta), "per_event": per_event}
    numbers = {"seed": seed, "first_event": first_event, "events": events}
    return Fired(parts, {"kind": "generated", "gun": gun, **numbers, "versions": {"flashlink": __version__}})


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
        pdg: PDG number: 11, 13, 211, 321, 2212 or 22; half of the particles are antiparticles.
        momentum: Range in MeV, even in the logarithm; equal ends give one momentum.
        eta: Range of the pseudorapidity, even.
        seed: Seed of the production.
        first_event: Number of the first event.
        per_event: Particles in an event: they share its vertex, and charged ones are its multiplicity.
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
        "pdg": sign * pdg if pdg != PHOTON else np.full(count, PHOTON),
        "charge": -sign if pdg in _NEGATIVE else sign * (pdg != PHOTON),
        "stable": np.ones(count),
        "signal": np.zeros(count),
        "px": transverse * np.cos(angle),
        "py": transverse * np.sin(angle),
        "pz": p * np.tanh(rapidity),
        "energy": np.hypot(p, _MASSES[pdg]),
        "multiplicity": np.full(count, per_event * (pdg != PHOTON)),
    }
    columns |= dict(zip("xyz", place, strict=True))
    columns |= dict(zip(("pv_x", "pv_y", "pv_z"), place, strict=True))
    return {name: np.asarray(columns[name]).astype(dtype) for name, dtype in GENERATED.items()}
