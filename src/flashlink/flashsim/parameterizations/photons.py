"""Photons: the probability of a cluster, then its residuals, covariance and likelihood jointly, by energy and place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations import library as libraries
from flashlink.flashsim.parameterizations.condition import Floats, Integers
from flashlink.flashsim.parameterizations.counts import Level, count, refined
from flashlink.flashsim.parameterizations.grid import Axis
from flashlink.flashsim.random import Draws

#: The shape that all photons share, to single cells: hole and edges of the calorimeter, what stands before it; then
#: what energy and multiplicity change. Axes of the counts: multiplicity, energy, x, y.
LEVELS = (*(Level((0, 1), width) for width in (8, 4, 2, 1, 0)), Level((0,), 4), Level((2, 3), 0), Level((), 8))

#: Weight of a level against the next one, in photons.
STRENGTH = 10

#: Training clusters that a photon chooses from, in a box at least, and in a bin of multiplicity at most.
WINDOW, LEAST, MOST = 30, 300, 20_000

#: h of `resolution.SMOOTHING`, for clusters.
SMOOTHING = 0.2


@dataclass(frozen=True)
class PhotonCondition:
    """Photons as the parameterization sees them; all arrays have shape (photons,).

    Attributes:
        log_e: log10 of the energy in MeV.
        x: Where the straight line of the photon meets the face of the calorimeter, mm.
        y: The same.
        tx: dx/dz of its flight.
        ty: dy/dz.
        origin_z: z of its production vertex, mm.
        origin_rho: Distance of that from the beam axis, mm.
        multiplicity: Charged particles of the event.
    """

    log_e: Floats
    x: Floats
    y: Floats
    tx: Floats
    ty: Floats
    origin_z: Floats
    origin_rho: Floats
    multiplicity: Floats

    @classmethod
    def of(cls, photons: Mapping[str, npt.NDArray[Any]], z: float) -> PhotonCondition:
        """Of the columns of a generated sample that go forward; `z` is the place of the calorimeter's face, mm."""
        tx, ty = photons["px"] / photons["pz"], photons["py"] / photons["pz"]
        step = z - photons["z"]
        return cls(
            log_e=np.log10(photons["energy"]),
            x=photons["x"] + step * tx,
            y=photons["y"] + step * ty,
            tx=tx,
            ty=ty,
            origin_z=np.asarray(photons["z"], dtype=np.float64),
            origin_rho=np.hypot(photons["x"], photons["y"]),
            multiplicity=photons["multiplicity"].astype(np.float64),
        )

    def __getitem__(self, rows: npt.NDArray[Any]) -> PhotonCondition:
        """Some of the photons."""
        return PhotonCondition(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def __len__(self) -> int:
        """The number of photons."""
        return len(self.log_e)


@dataclass(frozen=True)
class Clusters:
    """What photons became.

    Attributes:
        residual: x and y in mm, and the energy over the true one minus 1; shape (clusters, 3).
        covariance: Of the three, shape (clusters, 3, 3).
        dll: Log-likelihood of a photon minus that of a hadron.
    """

    residual: Floats
    covariance: Floats
    dll: Floats


@dataclass(frozen=True)
class Photons:
    """Probability and library of clusters. The calorimeter is taken to be alike in its four quadrants.

    Attributes:
        z: Of the calorimeter's face, mm.
        energy: Bins of log10 of the energy in MeV.
        x: Bins of log10 of abs(x) in mm.
        y: The same of y.
        multiplicity: Bins.
        efficiency: Probability of a cluster, shape (multiplicity, energy, x, y).
        trained: Training photons in each cell, shape (x, y).
        neighbours: Which `vectors` may stand for a photon; classes are bins of multiplicity.
        vectors: Residuals (3), lower triangle of the Cholesky factor of the covariance (6), likelihood, as if all
            photons were in the quadrant of positive x and y; shape (rows, 10).
    """

    z: float
    energy: Axis
    x: Axis
    y: Axis
    multiplicity: Axis
    efficiency: npt.NDArray[np.float32]
    trained: npt.NDArray[np.int32]
    neighbours: libraries.Library
    vectors: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, z: float, condition: PhotonCondition, rows: Integers, clusters: Clusters) -> Photons:
        """Count and keep.

        Args:
            z: Of the calorimeter's face, mm.
            condition: The generated photons.
            rows: Which of them the clusters are of.
            clusters: What they became.
        """
        seen = condition[rows]
        energy = Axis.quantiles("log10(E/MeV)", condition.log_e, (0.2, 0.4, 0.6, 0.8))
        x, y = (Axis.following("log10(place/mm)", _logarithm(place), 40) for place in (seen.x, seen.y))
        multiplicity = Axis.quantiles("multiplicity", condition.multiplicity, (0.25, 0.5, 0.75))
        axes = (multiplicity, energy, x, y)
        cells = _cells(axes, condition)
        found = np.zeros(len(condition.log_e), dtype=np.int64)
        found[rows] = 1
        inside = _inside((x, y), condition)
        counts = count((*(axis.bins for axis in axes), 2), *(cell[inside] for cell in cells), found[inside])
        efficiency = refined(counts, LEVELS, cells=(2, 3), strength=STRENGTH)[..., 1]
        classes = cells[0][rows]
        neighbours, kept = libraries.Library.fit(
            classes, seen.log_e, (cells[2][rows], cells[3][rows]), (x.bins, y.bins),
            np.full(multiplicity.bins, np.bincount(classes).argmax()),
            window=WINDOW, least=LEAST, most=MOST, sides=(1.0, 1.0),
        )  # fmt: skip
        signs = _signs(seen)
        covariance = clusters.covariance * signs[:, :, None] * signs[:, None, :]
        triangle = np.linalg.cholesky(covariance)[:, *np.tril_indices(3)]
        vectors = np.concatenate([clusters.residual * signs, triangle, clusters.dll[:, None]], axis=1)
        return cls(
            z, energy, x, y, multiplicity, efficiency.astype(np.float32),
            counts.sum(axis=(0, 1, 4)).astype(np.int32), neighbours, vectors[kept].astype(np.float32),
        )  # fmt: skip

    def sample(self, condition: PhotonCondition, draws: Draws) -> tuple[Integers, Clusters]:
        """Draw which of the photons have a cluster, and the clusters."""
        uniform, normal = draws.uniform("simulate/photon", 2), draws.normal("simulate/photon residual", 3)
        cells = _cells(self._axes, condition)
        inside = _inside((self.x, self.y), condition)
        rows = np.flatnonzero(inside & (uniform[0] < self.efficiency[cells]))
        condition, cells = condition[rows], tuple(cell[rows] for cell in cells)
        drawn = self.neighbours.draw(cells[0], condition.log_e, (cells[2], cells[3]), uniform[1, rows])
        vectors = self.vectors[drawn].astype(np.float64)
        factor = np.zeros((len(rows), 3, 3))
        factor[:, *np.tril_indices(3)] = vectors[:, 3:9]
        # Written out, since a product of matrices sums in an order that depends on their number.
        covariance = (factor[:, :, None, :] * factor[:, None, :, :]).sum(axis=-1)
        anew = (factor * normal[:, rows].T[:, None, :]).sum(axis=-1)
        signs = _signs(condition)
        return rows, Clusters(
            (np.sqrt(1 - SMOOTHING**2) * vectors[:, :3] + SMOOTHING * anew) * signs,
            covariance * signs[:, :, None] * signs[:, None, :],
            vectors[:, 9],
        )

    def in_range(self, condition: PhotonCondition) -> npt.NDArray[np.bool_]:
        """Whether the energy is one of the training's, and the place, with its neighbours, had photons enough."""
        _, _, x, y = _cells(self._axes, condition)
        inside = (condition.log_e >= self.energy.edges[0]) & (condition.log_e <= self.energy.edges[-1])
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(self.trained, 2), (5, 5)).sum(axis=(-1, -2))
        return np.asarray(inside & (windows[x, y] >= 10))

    @property
    def _axes(self) -> tuple[Axis, Axis, Axis, Axis]:
        return self.multiplicity, self.energy, self.x, self.y


def _cells(axes: tuple[Axis, Axis, Axis, Axis], condition: PhotonCondition) -> tuple[Integers, ...]:
    values = (condition.multiplicity, condition.log_e, _logarithm(condition.x), _logarithm(condition.y))
    return tuple(axis.locate(value) for axis, value in zip(axes, values, strict=True))


def _inside(axes: tuple[Axis, Axis], condition: PhotonCondition) -> npt.NDArray[np.bool_]:
    """Beyond the last training cluster in x and y the calorimeter has ended."""
    x, y = (_logarithm(place) <= axis.edges[-1] for axis, place in zip(axes, (condition.x, condition.y), strict=True))
    return np.asarray(x & y)


def _logarithm(place: Floats) -> Floats:
    """log10 of a distance in mm, of a centimetre at least."""
    return np.asarray(np.log10(np.maximum(np.abs(place), 10.0)))


def _signs(condition: PhotonCondition) -> Floats:
    """What turns a photon into the quadrant of positive x and y, for (x, y, energy)."""
    ones = np.ones_like(condition.x)
    return np.stack([np.where(condition.x < 0, -ones, ones), np.where(condition.y < 0, -ones, ones), ones], axis=1)
