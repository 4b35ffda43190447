"""Shares of particles that become tracks, and of tracks that are identified, against every condition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flashlink.flashsim.parameterizations.condition import SPECIES
from flashlink.flashsim.samples import DOWNSTREAM, LONG, UPSTREAM
from flashlink.flashsim.validation.distances import BINNED, Bin
from flashlink.flashsim.validation.sample import Mask, Pair, Side

#: Bins of each condition for each species, and rows in each at least.
BINS, LEAST = 8, 400

#: Conditions: those of all comparisons, and those that no bin of a table has.
CONDITIONS = (*BINNED, "origin rho", "charge")

CATEGORIES = {"long": LONG, "upstream": UPSTREAM, "downstream": DOWNSTREAM}


@dataclass(frozen=True)
class Efficiency:
    """A share in one bin, in both simulations.

    Attributes:
        what: ``long``, ``upstream`` or ``downstream``: particles with such a track; ``is_muon``: of their long tracks;
            ``photon``: photons with a cluster.
        species: Name of the class of the particles.
        bin: Which of them.
        rows: Particles or tracks in it, in the reference and in the flash simulation.
        reference: Their share in the reference.
        flash: In the flash simulation.
        error: Standard deviation of the difference, both samples' fluctuations included.
    """

    what: str
    species: str
    bin: Bin
    rows: tuple[int, int]
    reference: float
    flash: float
    error: float


@dataclass(frozen=True)
class GhostRate:
    """Tracks in an event that no particle made, and the statistical error of their ratio."""

    reference: float
    flash: float
    error: float


def efficiencies(pair: Pair) -> Iterator[Efficiency]:
    """All of them, in bins with as many particles each."""
    categories = [side.category for side in pair.sides]
    everyone = np.ones(len(pair.particles["event"]), dtype=bool)
    for what, number in CATEGORIES.items():
        yield from _shares(pair, what, (everyone, everyone), tuple(category == number for category in categories))
    of_long = tuple(category == LONG for category in categories)
    yield from _shares(pair, "is_muon", of_long, tuple(map(_muons, pair.sides)))
    for condition, values in pair.photons.items():
        everyone = np.ones(len(values), dtype=bool)
        for bin_ in Bin.of(condition, values, BINS):
            inside = bin_.inside(pair.photons, len(values))
            found = _share("photon", "photon", bin_, inside, (everyone, everyone), tuple(s.photons for s in pair.sides))
            if found:
                yield found


def ghost_rate(pair: Pair) -> GhostRate:
    """Ghosts in an event."""
    counts = [int((side.tracks["particle"] < 0).sum()) for side in pair.sides]
    error = np.sqrt(sum(1 / max(count, 1) for count in counts))
    return GhostRate(counts[0] / pair.events, counts[1] / pair.events, float(error))


def _muons(side: Side) -> Mask:
    found = np.zeros(len(side.row), dtype=bool)
    found[side.made] = side.of_particles("is_muon") > 0
    return found


def _shares(
    pair: Pair, what: str, among: tuple[Mask, ...], found: tuple[Mask, ...]
) -> Iterator[Efficiency]:  # fmt: skip
    for number, species in enumerate(SPECIES):
        of_species = pair.conditions["species"] == number
        for condition in CONDITIONS if of_species.any() else ():
            for bin_ in Bin.of(condition, pair.conditions[condition][of_species], BINS):
                inside = of_species & bin_.inside(pair.conditions, len(of_species))
                share = _share(what, species, bin_, inside, among, found)
                if share:
                    yield share


def _share(
    what: str, species: str, bin_: Bin, inside: Mask, among: tuple[Mask, ...], found: tuple[Mask, ...]
) -> Efficiency | None:
    """The shares in one bin; None where it has too few rows."""
    rows = [int((inside & mask).sum()) for mask in among]
    if min(rows) < LEAST:
        return None
    ours, theirs = (
        int((inside & mask & taken).sum()) / count for mask, taken, count in zip(among, found, rows, strict=True)
    )
    error = np.sqrt(sum(max(x * (1 - x), 1 / count) / count for x, count in zip((ours, theirs), rows, strict=True)))
    return Efficiency(what, species, bin_, (rows[0], rows[1]), ours, theirs, float(error))
