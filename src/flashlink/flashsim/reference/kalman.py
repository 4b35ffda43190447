"""The track fit: a Kalman filter of five parameters, all tracks at once, from the last hit towards the beam.

R. Frühwirth, "Application of Kalman filtering to track and vertex fitting", NIM A 262 (1987) 444. Filtering against the
flight direction makes the last filtered state the best estimate where it is wanted, at the beam: no smoother is needed.

Up to the magnet, field and scattering are those of the trajectory that the pattern recognition found, not of the
filter's own estimate: that one hardly knows the momentum there, and would linearise in the wrong place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import PION
from flashlink.flashsim.reference import material
from flashlink.flashsim.reference.decay import MASSES
from flashlink.flashsim.reference.geometry import Foil, Geometry, Surface
from flashlink.flashsim.reference.passage import FIELD_START
from flashlink.flashsim.reference.propagate import beam_distance, bend, cylinder_distance, straight, with_derivatives

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Standard deviations before the first hit, too wide to tell anything: x, y in mm, tx, ty, and q/p in parts of itself.
_PRIOR = (20.0, 20.0, 0.05, 0.05, 3.0)


#: Least share of the variance of a parameter that the others may leave undetermined; below, rounding has eaten it.
_LEAST_PIVOT = 1e-9


@dataclass(frozen=True)
class Hits:
    """What a fit knows of n tracks.

    Attributes:
        measured: Coordinates by row of the geometry, shape (coordinates, n), NaN for none.
        errors: Their errors, the same shape; any number for none.
        thickness: Of the surfaces and the foil where the tracks cross them, in mean thicknesses, shape
            (surfaces + 1, n).
    """

    measured: Floats
    errors: Floats
    thickness: Floats


@dataclass(frozen=True)
class Fit:
    """Fitted tracks; n of them.

    Attributes:
        state: At the point closest to the beam axis, shape (5, n).
        covariance: Of the state, at fixed z, shape (5, 5, n).
        z: Of that point, mm.
        chi2: Of the fit.
        ndf: Its degrees of freedom.
    """

    state: Floats
    covariance: Floats
    z: Floats
    chi2: Floats
    ndf: Integers


def fit(hits: Hits, seeds: Floats, start: float, geometry: Geometry) -> Fit:
    """Fit tracks.

    Args:
        hits: What was measured of each.
        seeds: States near the truth to linearise at, at z = `start`, shape (5, n).
        start: z of the last layer that is used, mm.
        geometry: The detector: its material counts as noise, with the mass of the pion.
    """
    surfaces = [surface for surface in geometry.surfaces if surface.z <= start]
    filtering = _Filter(hits, seeds, start)
    for surface in reversed(surfaces):
        filtering.cross(surface, geometry)
    filtering.cross_foil(geometry.foil)
    filtering.move_straight(beam_distance(filtering.state))
    ndf = np.isfinite(hits.measured[: surfaces[-1].last]).sum(axis=0) - 5
    return Fit(filtering.state, filtering.covariance, filtering.z, filtering.chi2, ndf)


def positive_definite(covariance: Floats) -> Flags:
    """Which of many symmetric matrices are, by the pivots of their elimination; shape (k, k, n) to (n,).

    A fit can break down, as where an electron lost most of its momentum on the way and the trajectory is far from all
    that it is linearised at: its covariance comes out indefinite.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.sqrt(np.einsum("iin->in", covariance))
        left = covariance / scale[:, None] / scale[None]
        sound = np.ones(left.shape[-1], dtype=bool)
        for row in range(len(left)):
            sound &= left[row, row] > _LEAST_PIVOT
            left = left - left[:, row, None] * left[None, row] / left[row, row]
    return sound


class _Filter:
    """Tracks under way towards the beam."""

    def __init__(self, hits: Hits, seeds: Floats, start: float) -> None:
        count = seeds.shape[1]
        self.measured, self.errors, self.thickness = hits.measured, hits.errors, hits.thickness
        self.state = seeds.copy()
        self.reference = seeds.copy()
        self.z = np.full(count, start)
        self.chi2 = np.zeros(count)
        self.covariance = np.zeros((5, 5, count))
        widths = (*_PRIOR[:4], _PRIOR[4] * np.abs(seeds[4]))
        for place, width in enumerate(widths):
            self.covariance[place, place] = np.square(width)

    def cross(self, surface: Surface, geometry: Geometry) -> None:
        """Go to a surface, take in its hits and its scattering."""
        if surface.z >= FIELD_START:
            self._move_bent(surface.z, geometry)
            crossed = surface.crossed(self.state[0], self.state[1])
        else:
            # behind its first hit a track is left alone: the rest of the way is the foil's and the beam's
            needed = np.isfinite(self.measured[: surface.last]).any(axis=0)
            self.move_straight(np.where(needed, surface.z - self.z, 0.0))
            crossed = needed & surface.crossed(self.state[0], self.state[1])
        for number, coordinate in enumerate(surface.coordinates):
            row = surface.first + number
            self._update(self.measured[row], coordinate, self.errors[row])
        radiation = surface.detector.radiation * self.thickness[surface.number]
        self._pass_matter(np.where(crossed, radiation, 0.0))

    def cross_foil(self, foil: Foil) -> None:
        """Back through the wall around the beam, for tracks that come from within."""
        distance = cylinder_distance(self.state, foil.radius)
        crosses = distance < 0
        self.move_straight(np.where(crosses, distance, 0.0))
        self._pass_matter(np.where(crosses, foil.radiation * self.thickness[-1], 0.0))

    def move_straight(self, distance: Floats) -> None:
        """Move by `distance` along z without a field."""
        self.state = self.reference = straight(self.state, distance)
        covariance = self.covariance
        covariance[0:2] += distance * covariance[2:4]
        covariance[:, 0:2] += distance * covariance[:, 2:4]
        self.z = self.z + distance

    def _move_bent(self, z: float, geometry: Geometry) -> None:
        start = float(self.z[0]) if len(self.z) else z
        if start == z:
            return
        deviation = self.state - self.reference
        self.reference, derivatives = with_derivatives(
            self.reference, lambda states: bend(states, start, z, geometry.field)
        )
        _transport(derivatives, deviation)
        self.state = self.reference + deviation
        _transport(derivatives, self.covariance)
        _transport(derivatives, self.covariance.swapaxes(0, 1))
        self.z = np.full_like(self.z, z)

    def _update(self, measured: Floats, coordinate: tuple[float, float], error: Floats) -> None:
        cosine, sine = coordinate
        has = np.isfinite(measured)
        gain = cosine * self.covariance[0] + sine * self.covariance[1]
        variance = cosine * gain[0] + sine * gain[1] + error**2
        residual = np.where(has, measured - cosine * self.state[0] - sine * self.state[1], 0.0)
        weight = has / variance
        self.state += gain * (weight * residual)
        self.covariance -= gain[:, None] * (weight * gain)[None]
        self.chi2 += weight * residual**2

    def _pass_matter(self, radiation: Floats) -> None:
        amount = radiation * material.path(self.reference)
        p = material.momentum(self.reference)
        angle = material.scattering_angle(p, MASSES[PION], amount)
        xx, yx, yy = material.scattering_covariance(self.reference, angle)
        self.covariance[2, 2] += xx
        self.covariance[3, 3] += yy
        self.covariance[2, 3] += yx
        self.covariance[3, 2] += yx
        gained = p / material.lose_energy(p, MASSES[PION], -amount)
        self.state[4] *= gained
        if self.reference is not self.state:
            self.reference[4] *= gained


def _transport(derivatives: Floats, vectors: Floats) -> None:
    """Apply the derivatives of a motion to vectors, shape (5, …, n), in place.

    Written out, since `numpy.einsum` sums in an order that depends on the number of tracks.
    """
    moved = vectors[2:5].copy()
    for row in range(4):
        for column in range(3):
            vectors[row] += derivatives[row, column] * moved[column]
