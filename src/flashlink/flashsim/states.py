"""Track states as straight lines near the beam: their true values, their point closest to it, their covariances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flashlink.errors import wrong
from flashlink.flashsim.parameterizations.condition import Floats
from flashlink.flashsim.samples import COVARIANCE, TRACK_PARAMETERS, VERTEX_COVARIANCE

#: A sample in memory, not to be changed: name to array, all of the same length.
Columns = Mapping[str, npt.NDArray[Any]]

#: Tracks that are moved at once: their matrices stay in the second-level cache.
_CHUNK = 2048

_ROWS, _COLUMNS = np.tril_indices(len(TRACK_PARAMETERS))


def true_states(particles: Columns) -> tuple[Floats, Floats]:
    """States (x, y, tx, ty, q/p) of generated particles at their point closest to the beam axis, and its z.

    Returns:
        The states, shape (particles, 5) in mm and 1/MeV, and z, shape (particles,) in mm.
    """
    px, py, pz = (np.asarray(particles[name], dtype=np.float64) for name in ("px", "py", "pz"))
    momentum = np.sqrt(px * px + py * py + pz * pz)
    state = np.stack([particles["x"], particles["y"], px / pz, py / pz, particles["charge"] / momentum], axis=1)
    z = np.asarray(particles["z"], dtype=np.float64)
    step = to_beam(state)
    return moved(state, step), z + step


def to_beam(state: Floats) -> Floats:
    """How far along z, in mm, the point closest to the beam axis is from where `state` is given; shape (tracks,)."""
    x, y, tx, ty = state[:, :4].T
    return np.asarray(-(x * tx + y * ty) / (tx * tx + ty * ty))


def moved(state: Floats, step: Floats) -> Floats:
    """The states `step` mm further along z, on straight lines."""
    result = state.copy()
    result[:, :2] += state[:, 2:4] * step[:, None]
    return result


def moved_covariance(covariance: Floats, step: Floats) -> Floats:
    """The covariances of states that are moved `step` mm along z, shape (tracks, 5, 5)."""
    result = np.empty((len(step), 5, 5))
    jacobian = np.tile(np.eye(5), (min(len(step), _CHUNK), 1, 1))
    for start in range(0, len(step), _CHUNK):
        rows = slice(start, start + _CHUNK)
        some = jacobian[: len(step[rows])]
        some[:, 0, 2] = some[:, 1, 3] = step[rows]
        np.matmul(some @ covariance[rows], some.transpose(0, 2, 1), out=result[rows])
    return result


def states(tracks: Columns) -> Floats:
    """The states (x, y, tx, ty, q/p) of a reconstructed sample, shape (tracks, 5)."""
    return np.stack([np.asarray(tracks[name], dtype=np.float64) for name in TRACK_PARAMETERS], axis=1)


def covariances(tracks: Columns) -> Floats:
    """The covariances of a reconstructed sample as symmetric matrices, shape (tracks, 5, 5)."""
    return symmetric(tracks, COVARIANCE, len(TRACK_PARAMETERS))


def vertex_covariances(tracks: Columns) -> Floats:
    """The covariances of the primary vertices of a reconstructed sample, shape (tracks, 3, 3)."""
    return symmetric(tracks, VERTEX_COVARIANCE, 3)


def symmetric(columns: Columns, names: Sequence[str], size: int) -> Floats:
    """Symmetric matrices, shape (rows, size, size), from the columns of their lower triangles."""
    triangle = np.stack([np.asarray(columns[name], dtype=np.float64) for name in names], axis=1)
    matrices = np.empty((len(triangle), size, size))
    rows, below = np.tril_indices(size)
    matrices[:, rows, below] = triangle
    matrices[:, below, rows] = triangle
    return matrices


def check_definite(place: str, columns: Columns, names: Sequence[str], size: int) -> None:
    """Check that the covariances in the columns of their lower triangles are positive definite.

    Args:
        place: The sample, for the message.
        columns: With ``event``.
        names: Of the triangle.
        size: Rows of a matrix.

    Raises:
        RequestError: The first event with one that is not.
    """
    matrices = symmetric(columns, names, size)
    sigma = np.sqrt(np.einsum("nii->ni", matrices))
    # As correlations: units differ by orders of magnitude, and rounding with them.
    matrices /= sigma[:, :, None] * sigma[:, None, :]
    try:
        np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        least = np.linalg.eigvalsh(matrices)[:, 0]
        row = int(least.argmin())
        where = f"{place}: columns {names[0]} to {names[-1]}, event {columns['event'][row]}"
        expected = "the least eigenvalue of the correlations of a positive definite covariance"
        raise wrong(where, float(least[row]), expected) from None


def state_columns(state: Floats, covariance: Floats) -> dict[str, npt.NDArray[np.float64]]:
    """The columns of a reconstructed sample that `states` and `covariances` read."""
    triangle = covariance[:, _ROWS, _COLUMNS]
    values = {name: state[:, index] for index, name in enumerate(TRACK_PARAMETERS)}
    return values | {name: triangle[:, index] for index, name in enumerate(COVARIANCE)}
