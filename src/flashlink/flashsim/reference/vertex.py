"""The primary vertex, fitted from the tracks of each event."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.reference.kalman import Fit
from flashlink.flashsim.samples import LONG, UPSTREAM

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: chi2 (of two degrees of freedom) at which a track has half a weight, and temperatures of the annealing.
_CUTOFF = 9.0
_TEMPERATURES = (64.0, 16.0, 4.0, 1.0, 1.0)


@dataclass(frozen=True)
class Vertices:
    """Fitted vertices.

    Attributes:
        position: x, y, z, shape (3, events), mm.
        covariance: Of these, shape (3, 3, events), mm^2.
    """

    position: Floats
    covariance: Floats


def fit_vertices(event: Integers, category: npt.NDArray[np.int8], fitted: Fit, beam_spot: Floats) -> Vertices:
    """Fit one vertex to the tracks of each event, with adaptive weights, so that displaced tracks do not pull it.

    W. Waltenberger, R. Frühwirth, P. Vanlaer, "Adaptive vertex fitting", J. Phys. G 34 (2007) N343. The beam spot is a
    weak constraint, so that an event with few tracks has a vertex too.

    Args:
        event: Index of the event of each track, 0 to events - 1.
        category: Of each track; those without hits in the vertex detector are left out.
        fitted: The tracks.
        beam_spot: Standard deviations in x, y, z, mm; its centre is the origin.

    """
    events = int(event.max()) + 1 if len(event) else 0
    use = np.flatnonzero((category == LONG) | (category == UPSTREAM))
    number = event[use]
    lines = _Lines(fitted, use)
    vertex = np.zeros((3, events))
    vertex[2] = _median(number, fitted.z[use], events)
    vertices = Vertices(vertex, np.zeros((3, 3, events)))
    for temperature in _TEMPERATURES:
        chi2 = lines.chi2(vertices.position[:, number])
        weight = 1 / (1 + np.exp(np.clip((chi2 - _CUTOFF) / (2 * temperature), -50, 50)))
        vertices = _solve(lines, weight, number, events, beam_spot)
    return vertices


class _Lines:
    """Tracks as straight lines with the weight matrix of their (x, y)."""

    def __init__(self, fitted: Fit, rows: Integers) -> None:
        self.x, self.y, self.tx, self.ty = fitted.state[:4, rows]
        self.z = fitted.z[rows]
        xx, yx, yy = (fitted.covariance[i, j, rows] for i, j in ((0, 0), (1, 0), (1, 1)))
        determinant = xx * yy - yx * yx
        self.weights = (yy / determinant, -yx / determinant, xx / determinant)

    def chi2(self, vertex: Floats) -> Floats:
        """Of the distance of each track from a vertex, shape (3, tracks)."""
        dx = self.x + self.tx * (vertex[2] - self.z) - vertex[0]
        dy = self.y + self.ty * (vertex[2] - self.z) - vertex[1]
        xx, yx, yy = self.weights
        return np.asarray(xx * dx * dx + 2 * yx * dx * dy + yy * dy * dy)


def _solve(lines: _Lines, weight: Floats, event: Integers, events: int, beam_spot: Floats) -> Vertices:
    """Weighted least squares for (x, y, z): each track measures x - tx z and y - ty z."""
    xx, yx, yy = (weight * value for value in lines.weights)
    measured = (lines.x - lines.tx * lines.z, lines.y - lines.ty * lines.z)
    along = (-(xx * lines.tx + yx * lines.ty), -(yx * lines.tx + yy * lines.ty))
    matrix = np.zeros((events, 3, 3))
    terms = {(0, 0): xx, (1, 0): yx, (1, 1): yy, (2, 0): along[0], (2, 1): along[1],
             (2, 2): -(along[0] * lines.tx + along[1] * lines.ty)}  # fmt: skip
    for (row, column), term in terms.items():
        matrix[:, row, column] = matrix[:, column, row] = np.bincount(event, term, events)
    matrix[:, [0, 1, 2], [0, 1, 2]] += 1 / np.square(beam_spot)
    sides = (
        xx * measured[0] + yx * measured[1],
        yx * measured[0] + yy * measured[1],
        along[0] * measured[0] + along[1] * measured[1],
    )
    right = np.stack([np.bincount(event, side, events) for side in sides], axis=1)
    covariance: Floats = np.linalg.inv(matrix).astype(np.float64)
    # A product in parts: that of matrices sums in an order that depends on their number.
    position = (covariance * right[:, None, :]).sum(axis=2).T
    return Vertices(position, np.moveaxis(covariance, 0, -1))


def _median(event: Integers, values: Floats, events: int) -> Floats:
    """The median of the values of each event, 0 where there is none."""
    order = np.lexsort((values, event))
    sizes = np.bincount(event, minlength=events)
    middle = np.cumsum(sizes) - sizes + sizes // 2
    return np.where(sizes > 0, np.append(values[order], 0.0)[np.minimum(middle, len(values))], 0.0)
