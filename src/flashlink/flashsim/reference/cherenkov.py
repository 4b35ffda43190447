"""Cherenkov detectors: photons on a ring, over the photons of the others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.random import Stream
from flashlink.flashsim.reference.candidates import Candidates
from flashlink.flashsim.reference.decay import MASSES
from flashlink.flashsim.reference.geometry import Radiator
from flashlink.flashsim.samples import UPSTREAM

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Spread of the photons of another's ring, in resolutions.
_CROSSING = 3.0

#: More photons than a track has on any sensible occasion.
_MOST_PHOTONS = 120


def angle_and_yield(p: Floats, mass: float | Floats, radiator: Radiator) -> tuple[Floats, Floats]:
    """Cherenkov angle in rad and mean number of detected photons; both 0 below threshold.

    cos(angle) = 1 / (n beta); the yield goes with the square of the sine (Frank and Tamm).
    """
    index = 1 + radiator.refractivity
    cosine = np.sqrt(1 + np.square(mass / p)) / index
    square = np.maximum(1 - cosine * cosine, 0)
    saturated = 1 - 1 / index**2
    return np.arcsin(np.sqrt(square)), radiator.photons * square / saturated


def cherenkov_likelihoods(candidates: Candidates, radiator: Radiator, stream: Stream) -> Floats:
    """Log-likelihoods of the five hypotheses, shape (5, n); 0 for tracks that do not cross the radiator.

    The likelihood is the extended one: photons on the ring of the hypothesis with Gaussian angles, and a flat
    background that grows with the occupancy of the event.
    """
    likelihoods = np.zeros((len(MASSES), len(candidates.event)))
    rows = np.flatnonzero(radiator.before_magnet | (candidates.category != UPSTREAM))
    background = radiator.background * candidates.multiplicity[rows]
    angles = _photons(candidates, rows, radiator, background, stream)
    density = background / radiator.largest_angle
    # an expectation of the hypothesis knows neither the common error of the angle nor absorption
    width = np.hypot(radiator.resolution, radiator.track_resolution)
    height = 1 / (np.sqrt(2 * np.pi) * width)
    for number, mass in enumerate(MASSES):
        angle, photons = angle_and_yield(candidates.measured_p[rows], mass, radiator)
        ring = photons * height * np.exp(-0.5 * np.square((angles - angle) / width))
        likelihoods[number, rows] = np.log1p(np.nan_to_num(ring) / density).sum(axis=0) - photons
    return likelihoods


def _photons(candidates: Candidates, rows: Integers, radiator: Radiator, background: Floats, stream: Stream) -> Floats:
    """Angles of all photons near each track, shape (most photons, n), NaN where there are fewer."""
    event, key = candidates.event[rows], candidates.key[rows]
    chance = stream.uniform(event, key, 6)
    angle, photons = angle_and_yield(candidates.p[rows], MASSES[candidates.species[rows]], radiator)
    radiates = ~candidates.ghost[rows] | radiator.before_magnet
    share = radiator.least_share + (1 - radiator.least_share) * chance[2]
    own = poisson(photons * share * radiates * (candidates.end_z[rows] >= radiator.end), chance[0])
    crossed = chance[3] < 1 - np.exp(-radiator.overlap * candidates.multiplicity[rows])
    ring = own + poisson(radiator.photons / 2 * crossed, chance[4])
    count = ring + poisson(background, chance[1])
    places = np.arange(count.max(initial=0))[:, None]
    smear = Stream(stream.seed, f"{stream.step}/ring").normal(event, key, 1 + len(places))
    signal = angle + radiator.track_resolution * smear[0] + radiator.resolution * smear[1:]
    noise = radiator.largest_angle * Stream(stream.seed, f"{stream.step}/noise").uniform(event, key, len(places))
    # what of another's ring falls into the search region lies close together, since rings cross at small angles
    other = np.abs(radiator.largest_angle * chance[5] + _CROSSING * radiator.resolution * smear[1:])
    return np.select([places < own, places < ring, places < count], [signal, other, noise], np.nan)


def poisson(mean: Floats, uniform: Floats) -> Integers:
    """Poisson-distributed numbers from uniform ones, by inversion."""
    number = np.zeros(len(mean), dtype=np.int64)
    term = np.exp(-mean)
    cumulative = term.copy()
    for count in range(1, _MOST_PHOTONS):
        above = uniform > cumulative
        if not above.any():
            break
        number += above
        term *= mean / count
        cumulative += term
    return number
