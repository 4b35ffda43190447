"""Composite particles: the common vertex of tracks, their total four-momentum there, and the covariance of both.

Tracks are straight lines with errors. Where the vertex is given, the momentum of a track is known better, since its
errors correlate with those of its place; so momenta and vertex correlate too (P. Billoir, S. Qian, Nucl. Instrum.
Methods A 311 (1992) 139, for straight lines).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flashlink.flashsim.kinematics import LIGHT, Floats, transverse, vertex

#: What the covariance of a composite particle is over, in this order; mm and MeV.
PARAMETERS = ("vertex_x", "vertex_y", "vertex_z", "px", "py", "pz", "energy")


@dataclass(frozen=True)
class Composite:
    """Combinations of tracks that meet.

    Attributes:
        position: Of the vertex, mm, shape (n, 3).
        momentum: (px, py, pz, E) at the vertex, MeV, shape (n, 4).
        covariance: Of `PARAMETERS`, shape (n, 7, 7).
        chi2: Of the vertex, 2k - 3 degrees of freedom.
    """

    position: Floats
    momentum: Floats
    covariance: Floats
    chi2: Floats

    @property
    def mass(self) -> Floats:
        """Invariant mass at the vertex, MeV, shape (n,)."""
        return np.asarray(np.sqrt(self.momentum[:, 3] ** 2 - np.square(self.momentum[:, :3]).sum(axis=1)))

    @property
    def _mass_slope(self) -> Floats:
        """Derivatives of the mass by (px, py, pz, E), shape (n, 4)."""
        return self.momentum * [-1, -1, -1, 1] / self.mass[:, None]

    @property
    def mass_error(self) -> Floats:
        """Its standard deviation, MeV, shape (n,)."""
        slope = self._mass_slope
        return np.asarray(np.sqrt(np.einsum("ni,nij,nj->n", slope, self.covariance[:, 3:, 3:], slope)))

    def decay_time(self, origin: Floats, covariance: Floats) -> tuple[Floats, Floats]:
        """Proper time from a point to the vertex, along the momentum, and its standard deviation; ps, shape (n,).

        Args:
            origin: The point, mm, shape (n, 3).
            covariance: Of it, shape (n, 3, 3).
        """
        flight, momentum = self.position - origin, self.momentum[:, :3]
        p2, along = np.square(momentum).sum(axis=1), (flight * momentum).sum(axis=1)
        time = self.mass * along / p2 / LIGHT
        slope = np.zeros((len(time), 7))
        slope[:, :3] = (self.mass / p2 / LIGHT)[:, None] * momentum
        slope[:, 3:6] = (self.mass / p2 / LIGHT)[:, None] * (flight - 2 * (along / p2)[:, None] * momentum)
        slope[:, 3:] += (along / p2 / LIGHT)[:, None] * self._mass_slope
        variance = np.einsum("ni,nij,nj->n", slope, self.covariance, slope)
        variance += np.einsum("ni,nij,nj->n", slope[:, :3], covariance, slope[:, :3])
        return time, np.sqrt(variance)


def composite(states: Floats, z: Floats, covariances: Floats, masses: Sequence[float]) -> Composite:
    """Fit combinations of k tracks.

    Args:
        states: (x, y, tx, ty, q/p) of the tracks, mm and 1/MeV, shape (n, k, 5).
        z: Where they are, shape (n, k).
        covariances: Of them, shape (n, k, 5, 5).
        masses: Hypotheses of the k tracks, MeV.
    """
    meeting = vertex(states, z, covariances)
    step = meeting.position[:, None, 2] - z
    # What each line lies off the vertex in x and y, and how that changes with the vertex.
    off = states[..., :2] + states[..., 2:4] * step[..., None] - meeting.position[:, None, :2]
    design = np.concatenate([np.broadcast_to(-np.eye(2), (*z.shape, 2, 2)), states[..., 2:4, None]], axis=-1)
    # Of (tx, ty, q/p) with x and y at the vertex: what is off there moves them.
    cross = covariances[..., 2:, :2] + step[..., None, None] * covariances[..., 2:, 2:4]
    gain = cross @ np.linalg.inv(transverse(covariances, step))
    moved = states[..., 2:] - (gain @ off[..., None])[..., 0]
    left = covariances[..., 2:, 2:] - gain @ np.swapaxes(cross, -1, -2)
    momenta, slopes = _momenta(moved, np.asarray(masses))
    with_vertex = -(slopes @ gain @ design).sum(axis=1)
    jacobian = np.concatenate([np.broadcast_to(np.eye(3), (len(z), 3, 3)), with_vertex], axis=1)
    covariance = jacobian @ meeting.covariance @ np.swapaxes(jacobian, -1, -2)
    covariance[:, 3:, 3:] += (slopes @ left @ np.swapaxes(slopes, -1, -2)).sum(axis=1)
    covariance = (covariance + np.swapaxes(covariance, -1, -2)) / 2
    return Composite(meeting.position, momenta.sum(axis=1), covariance, meeting.chi2)


def _momenta(directed: Floats, masses: Floats) -> tuple[Floats, Floats]:
    """(px, py, pz, E) of tracks given as (tx, ty, q/p), and their derivatives by these, shape (n, k, 4, 3)."""
    tx, ty, qop = np.moveaxis(directed, -1, 0)
    p = 1 / np.abs(qop)
    norm = np.sqrt(1 + tx**2 + ty**2)
    unit = np.stack([tx, ty, np.ones_like(tx)], axis=-1) / norm[..., None]
    energy = np.hypot(p, masses)
    momentum = np.concatenate([p[..., None] * unit, energy[..., None]], axis=-1)
    slopes = np.zeros((*tx.shape, 4, 3))
    for axis, t in enumerate((tx, ty)):
        slopes[..., :3, axis] = -(p * t / norm**2)[..., None] * unit
        slopes[..., axis, axis] += p / norm
    slopes[..., :3, 2] = -(p / qop)[..., None] * unit
    slopes[..., 3, 2] = -(p / qop) * p / energy
    return momentum, slopes
