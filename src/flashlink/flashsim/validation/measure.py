"""The numbers of a validation, all that page and verdict are made of."""

from __future__ import annotations

from dataclasses import dataclass

from flashlink.flashsim.validation.distances import Correlations, Distance, Pull, correlations, distances, pulls
from flashlink.flashsim.validation.efficiencies import Efficiency, GhostRate, efficiencies, ghost_rate
from flashlink.flashsim.validation.identification import Curve, curves
from flashlink.flashsim.validation.masses import Closure, closures
from flashlink.flashsim.validation.sample import Pair
from flashlink.flashsim.validation.separation import MOST, Separation, separations


@dataclass(frozen=True)
class Numbers:
    """All numbers of a validation.

    Attributes:
        events: Compared events.
        particles: Stable charged particles in them.
        tracks: Those of them that became tracks, in the reference and in the flash simulation.
        distances: For each variable, over all tracks and in bins.
        correlations: Of all pairs of track and PID variables.
        pulls: Of the five track parameters and the three of the primary vertex, over all and in bins.
        efficiencies: In bins of each condition, by species.
        ghosts: Tracks that no particle made.
        curves: Efficiency of identification against misidentified pions.
        closures: Widths of masses.
        separations: The two-sample tests.
    """

    events: int
    particles: int
    tracks: tuple[int, int]
    distances: tuple[Distance, ...]
    correlations: Correlations
    pulls: tuple[Pull, ...]
    efficiencies: tuple[Efficiency, ...]
    ghosts: GhostRate
    curves: tuple[Curve, ...]
    closures: tuple[Closure, ...]
    separations: tuple[Separation, ...]


def measure(pair: Pair, most_tested: int = MOST) -> Numbers:
    """Compare both simulations; `most_tested` rows of each go at most into a two-sample test."""
    together = [side.groups["track"].variables | side.groups["identification"].variables for side in pair.sides]
    return Numbers(
        events=pair.events,
        particles=len(pair.particles["event"]),
        tracks=(int(pair.reference.made.sum()), int(pair.flash.made.sum())),
        distances=tuple(distances(pair)),
        correlations=correlations(*together),
        pulls=tuple(pulls(pair)),
        efficiencies=tuple(efficiencies(pair)),
        ghosts=ghost_rate(pair),
        curves=tuple(curves(pair)),
        closures=tuple(closures(pair)),
        separations=tuple(separations(pair, most_tested)),
    )
