"""Curves of identification: the efficiency of a cut on a likelihood against the pions that it lets through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flashlink.flashsim.parameterizations.condition import SPECIES
from flashlink.flashsim.validation.sample import Floats, Pair, Side

#: Species, and the likelihood difference to the pion that tells it.
SCORES = {"electron": "dll_e", "muon": "dll_mu", "kaon": "dll_k", "proton": "dll_p"}

#: Misidentified pions at which the efficiencies are compared.
MISIDENTIFIED = (0.3, 0.1, 0.03, 0.01, 0.003)

#: Ranges of the true momentum, GeV; the first holds all.
MOMENTA = ((0.0, np.inf), (2.0, 10.0), (10.0, 30.0), (30.0, 100.0))

#: Tracks of a species, and pions that a cut lets through, at least.
LEAST, LEAST_PIONS = 200, 10


@dataclass(frozen=True)
class Curve:
    """Efficiency of a species at given shares of misidentified pions.

    Attributes:
        species: What is looked for.
        score: The likelihood that is cut on.
        momentum: Range of the true momentum, GeV; the upper end is 0 where there is none.
        misidentified: Shares of pions.
        reference: Efficiencies at those in the reference.
        flash: In the flash simulation.
        error: Standard deviations of the differences.
    """

    species: str
    score: str
    momentum: tuple[float, float]
    misidentified: tuple[float, ...]
    reference: tuple[float, ...]
    flash: tuple[float, ...]
    error: tuple[float, ...]


def curves(pair: Pair) -> Iterator[Curve]:
    """Of all species, over all momenta and in ranges; only where there are tracks enough."""
    for species, score in SCORES.items():
        for low, high in MOMENTA:
            samples = [scores(side, species, score, (low, high)) for side in pair.sides]
            pions = min(len(sample[1]) for sample in samples)
            points = tuple(share for share in MISIDENTIFIED if share * pions >= LEAST_PIONS)
            if min(len(sample[0]) for sample in samples) < LEAST or not points:
                continue
            values = [_compared(*sample, np.array(points)) for sample in samples]
            error = np.hypot(values[0][1], values[1][1])
            ours, theirs, errors = (tuple(map(float, found)) for found in (values[0][0], values[1][0], error))
            yield Curve(species, score, (low, high if np.isfinite(high) else 0), points, ours, theirs, errors)


def scores(
    side: Side, species: str, score: str, momentum: tuple[float, float] = MOMENTA[0]
) -> tuple[Floats, Floats]:  # fmt: skip
    """The score of the tracks of a species and of pions, of momenta in GeV within a range."""
    known = side.groups["identification"].conditions
    p = 10 ** (known["log10 p"] - 3)
    inside = (p >= momentum[0]) & (p < momentum[1])
    values = side.of_particles(score)
    found, pions = (values[inside & (known["species"] == list(SPECIES).index(name))] for name in (species, "pion"))
    return found, pions


def curve(found: Floats, pions: Floats) -> tuple[Floats, Floats]:
    """Shares of pions, increasing from 0 to 1, and of the species, that lie above each value of the score."""
    values = np.unique(np.concatenate([found, pions]))[::-1]
    shares = [1 - np.searchsorted(np.sort(sample), values, side="left") / len(sample) for sample in (pions, found)]
    return np.append(0, shares[0]), np.append(0, shares[1])


def _compared(found: Floats, pions: Floats, points: Floats) -> tuple[Floats, Floats]:
    """Efficiencies at the points, and their errors: of the efficiency itself, and of where the cut is."""
    shares, efficiency = curve(found, pions)
    at = np.interp(points, shares, efficiency)
    step = 1.2
    slope = (np.interp(points * step, shares, efficiency) - np.interp(points / step, shares, efficiency)) / (
        points * (step - 1 / step)
    )
    own = np.maximum(at * (1 - at), 1 / len(found)) / len(found)
    return at, np.sqrt(own + slope**2 * points * (1 - points) / len(pions))
