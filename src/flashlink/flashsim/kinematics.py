"""Invariant masses of combinations of tracks, their errors from the tracks' covariances, and a mass constraint.

Shapes: n combinations of k tracks; states (x, y, tx, ty, q/p) are (n, k, 5), covariances (n, k, 5, 5), in mm and 1/MeV.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Speed of light in mm/ps.
LIGHT = 0.299792458


@functools.cache
def pdg_mass(number: int) -> float:
    """Mass in MeV of a particle by its PDG number, from the Particle Data Group's table in the ``particle`` package."""
    from particle import Particle

    mass = Particle.from_pdgid(number).mass
    if mass is None:
        raise ValueError(f"the particle data table has no mass for {number}")
    return float(mass)


@dataclass(frozen=True)
class Combined:
    """The sum of the four-momenta of a combination.

    Attributes:
        momentum: (E, px, py, pz) in MeV, shape (n, 4).
        mass: Invariant mass in MeV, shape (n,).
        gradient: Derivative of the mass by each parameter of each track, shape (n, k, 5).
    """

    momentum: Floats
    mass: Floats
    gradient: Floats


def combined(states: Floats, masses: Sequence[float]) -> Combined:
    """Combine tracks with mass hypotheses in MeV, one for each of the k tracks."""
    tx, ty, qop = np.moveaxis(states, -1, 0)[2:]
    p = 1 / np.abs(qop)
    slope = np.stack([tx, ty, np.ones_like(tx)], axis=-1)
    norm = np.sqrt((slope**2).sum(axis=-1))
    direction = slope / norm[..., None]
    momenta = p[..., None] * direction
    energies = np.hypot(p, np.asarray(masses))
    total = np.concatenate([energies.sum(axis=1)[:, None], momenta.sum(axis=1)], axis=1)
    mass = np.sqrt(total[:, 0] ** 2 - (total[:, 1:] ** 2).sum(axis=1))
    gradient = np.zeros_like(states)
    along = (total[:, None, 1:] * direction).sum(axis=-1)
    # m dm = E dE - P.dP; a slope t turns the momentum: d(p n)/dt = p (axis - n t/norm)/norm.
    for index, t in ((0, tx), (1, ty)):
        turned = p / norm * (total[:, None, 1 + index] - along * t / norm)
        gradient[..., 2 + index] = -turned / mass[:, None]
    gradient[..., 4] = -(total[:, None, 0] * p * p / energies - along * p) / qop / mass[:, None]
    return Combined(total, mass, gradient)


def mass_error(gradient: Floats, covariances: Floats) -> Floats:
    """Standard deviation of the mass, for tracks that do not correlate; shape (n,)."""
    return np.asarray(np.sqrt(np.einsum("nki,nkij,nkj->n", gradient, covariances, gradient)))


def constrain(states: Floats, covariances: Floats, masses: Sequence[float], mass: float) -> tuple[Floats, Floats]:
    """Move tracks, within their errors, to where their invariant mass is `mass`: least squares with one constraint.

    The constraint is linearised three times over (Lagrange multipliers, as in kinematic fits).

    Returns:
        The states, and their joint covariance of shape (n, 5k, 5k): the tracks correlate now.
    """
    size = states.shape[1] * 5
    joint = np.zeros((len(states), size, size))
    for track in range(states.shape[1]):
        part = slice(5 * track, 5 * track + 5)
        joint[:, part, part] = covariances[:, track]
    start = states.reshape(-1, size)
    now = start
    for _ in range(3):
        tracks = combined(now.reshape(states.shape), masses)
        gradient = tracks.gradient.reshape(-1, size)
        pulled = np.einsum("nij,nj->ni", joint, gradient)
        variance = np.einsum("ni,ni->n", gradient, pulled)
        distance = tracks.mass - mass + np.einsum("ni,ni->n", gradient, start - now)
        now = start - pulled * (distance / variance)[:, None]
    narrowed = joint - pulled[:, :, None] * pulled[:, None, :] / variance[:, None, None]
    return now.reshape(states.shape), narrowed


@dataclass(frozen=True)
class DecayVertex:
    """Where straight lines meet.

    Attributes:
        position: (x, y, z) in mm, shape (n, 3).
        covariance: In mm^2, shape (n, 3, 3).
        chi2: Sum of squared distances in units of their errors; 2k - 3 degrees of freedom.
    """

    position: Floats
    covariance: Floats
    chi2: Floats


def vertex(states: Floats, z: Floats, covariances: Floats) -> DecayVertex:
    """Fit a common vertex to tracks by least squares of their distances in x and y at the vertex's z.

    Args:
        states: The tracks.
        z: Where their states are, shape (n, k).
        covariances: Of the states.
    """
    slope = states[..., 2:4]
    # Distance of a line from v at the z of v: offset + design @ v.
    offset = states[..., :2] - slope * z[..., None]
    design = np.concatenate([np.broadcast_to(-np.eye(2), (*z.shape, 2, 2)), slope[..., None]], axis=-1)
    step = np.zeros_like(z)
    # The weights depend on how far the lines are extended; after the first pass that is known well enough.
    for _ in range(2):
        weight = np.linalg.inv(transverse(covariances, step))
        normal = np.einsum("nkai,nkab,nkbj->nij", design, weight, design)
        target = -np.einsum("nkai,nkab,nkb->ni", design, weight, offset)
        position = np.linalg.solve(normal, target[..., None])[..., 0]
        step = position[:, None, 2] - z
    distance = offset + np.einsum("nkai,ni->nka", design, position)
    chi2 = np.einsum("nka,nkab,nkb->n", distance, weight, distance)
    return DecayVertex(position, np.linalg.inv(normal), chi2)


def impact_chi2(states: Floats, z: Floats, covariances: Floats, point: Floats) -> Floats:
    """Squared distance of tracks from a point, in x and y at its z, in units of the tracks' errors.

    Args:
        states: Tracks, shape (n, 5).
        z: Where their states are, shape (n,).
        covariances: Of the states, shape (n, 5, 5).
        point: (x, y, z), shape (n, 3).
    """
    step = point[:, 2] - z
    distance = states[:, :2] + states[:, 2:4] * step[:, None] - point[:, :2]
    weight = np.linalg.inv(transverse(covariances, step))
    return np.asarray(np.einsum("na,nab,nb->n", distance, weight, distance))


def transverse(covariances: Floats, step: Floats) -> Floats:
    """Covariance of (x, y) of lines that are extended by `step` in z; shape (…, 2, 2)."""
    position, slope = covariances[..., :2, :2], covariances[..., 2:4, 2:4]
    cross = covariances[..., :2, 2:4]
    length = step[..., None, None]
    return np.asarray(position + length * (cross + np.swapaxes(cross, -1, -2)) + length**2 * slope)
