"""Photons in the electromagnetic calorimeter: which convert before it, and what clusters the others make.

Only photons make clusters here: those of electrons and hadrons are known by their tracks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.acceptance import PHOTON, places
from flashlink.flashsim.files import Columns
from flashlink.flashsim.matching import pairs
from flashlink.flashsim.random import Stream
from flashlink.flashsim.reference.geometry import Geometry, default_geometry
from flashlink.flashsim.reference.propagate import cylinder_distance
from flashlink.flashsim.samples import CLUSTER_COVARIANCE, PHOTONS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Share of a radiation length of matter in which photons of high energy convert (PDG, passage of particles, 34.4.4).
_CONVERSION = 7 / 9

#: A hadron's or a merged pair's shower: how much wider than a photon's, in units of the error of the width at infinite
#: energy, and how much these differ.
_WIDER, _SPREAD = 4.0, 2.0


def reconstruct_photons(particles: Columns, seed: int, geometry: Geometry | None = None) -> Columns:
    """Make the clusters of the photons of a generated sample.

    Args:
        particles: Its columns, ordered by event.
        seed: Seed of the production.
        geometry: The detector; the one that flashlink ships by default.

    Returns:
        The columns `flashlink.flashsim.samples.PHOTONS`, ordered by event, then by particle.
    """
    geometry = geometry or default_geometry()
    rows = np.flatnonzero(particles["stable"] & (particles["pdg"] == PHOTON) & (particles["pz"] > 0))
    photons = {name: values[rows] for name, values in particles.items()}
    arriving = _arriving(photons, geometry, seed)
    photons = {name: values[arriving] for name, values in photons.items()}
    clusters = _merged(photons, _deposits(photons, geometry, seed), geometry)
    columns = _columns(photons, clusters, geometry, seed)
    return {name: columns[name].astype(dtype) for name, dtype in PHOTONS.items()}


@dataclass(frozen=True)
class _Deposits:
    """Energy and place at which photons meet the calorimeter; slopes are those of their flight."""

    energy: Floats
    x: Floats
    y: Floats
    tx: Floats
    ty: Floats


def _arriving(photons: Columns, geometry: Geometry, seed: int) -> npt.NDArray[np.bool_]:
    """Which photons come to the calorimeter unconverted and inside of it."""
    tx, ty = photons["px"] / photons["pz"], photons["py"] / photons["pz"]
    state = np.stack([photons["x"], photons["y"], tx, ty, np.zeros_like(tx)])
    path = np.sqrt(1 + tx**2 + ty**2)
    from_within = np.hypot(state[0], state[1]) < geometry.foil.radius
    through_foil = from_within & np.isfinite(cylinder_distance(state, geometry.foil.radius))
    amount = np.where(through_foil, geometry.foil.radiation, 0.0)
    # The pair of a photon that converts behind the magnet stays together and makes one cluster.
    for surface in (surface for surface in geometry.surfaces if surface.detector.kind != "stations"):
        step = surface.z - photons["z"]
        crossed = (step > 0) & surface.crossed(state[0] + step * tx, state[1] + step * ty)
        amount += np.where(crossed, surface.detector.radiation, 0.0)
    chance = Stream(seed, "reference/photon").uniform(photons["event"], photons["particle"], 1)[0]
    step = geometry.calorimeter.z - photons["z"]
    inside = geometry.calorimeter.covers(state[0] + step * tx, state[1] + step * ty)
    return np.asarray((step > 0) & inside & (chance < np.exp(-_CONVERSION * amount * path)))


def _deposits(photons: Columns, geometry: Geometry, seed: int) -> _Deposits:
    """What each photon leaves by itself, with the fluctuations of its shower and the energy of its neighbours."""
    calorimeter = geometry.calorimeter
    stream = Stream(seed, "reference/photon/shower")
    normal = stream.normal(photons["event"], photons["particle"], 4)
    chance = Stream(seed, "reference/photon/neighbours").uniform(photons["event"], photons["particle"], 1)[0]
    tx, ty = photons["px"] / photons["pz"], photons["py"] / photons["pz"]
    step = calorimeter.z - photons["z"]
    x, y = photons["x"] + step * tx, photons["y"] + step * ty
    energy = photons["energy"] * (1 + calorimeter.resolution(photons["energy"]) * normal[0])
    neighbours = -np.log(chance) * calorimeter.neighbours * photons["multiplicity"]
    energy = np.maximum(energy, 0) + neighbours
    # The depth of the shower fluctuates, which moves it along the flight.
    deeper = calorimeter.depth * normal[3]
    error = calorimeter.position_error(x, y, np.maximum(energy, 1.0))
    return _Deposits(energy, x + error * normal[1] + tx * deeper, y + error * normal[2] + ty * deeper, tx, ty)


def _merged(photons: Columns, deposits: _Deposits, geometry: Geometry) -> tuple[_Deposits, Integers, Floats]:
    """Put photons that are nearer to each other than a cell into the cluster of the one with the most energy.

    Returns:
        The clusters, the row of the leading photon of each, and how far the others were off in it, weighted by their
        share of its energy, in cells.
    """
    event, count = photons["event"], len(photons["event"])
    left, right = pairs(event, event)
    cell = geometry.calorimeter.cell(deposits.x, deposits.y)
    apart = np.hypot(deposits.x[left] - deposits.x[right], deposits.y[left] - deposits.y[right])
    near = (apart < cell[right]) & (deposits.energy[right] > deposits.energy[left])
    leader = np.arange(count)
    # The last one that is written stays: of all near ones that with the most energy.
    order = np.flatnonzero(near)[np.argsort(deposits.energy[right[near]], kind="stable")]
    leader[left[order]] = right[order]
    for _ in range(3):
        # A leader may itself be part of a larger cluster.
        leader = leader[leader]
    total = np.bincount(leader, deposits.energy, minlength=count).astype(np.float64)
    rows = np.flatnonzero(leader == np.arange(count))

    def mean(values: Floats) -> Floats:
        weighted = np.bincount(leader, deposits.energy * values, minlength=count)
        return np.asarray((weighted / np.maximum(total, 1e-9))[rows])

    off = np.hypot(deposits.x - deposits.x[leader], deposits.y - deposits.y[leader]) / cell[leader]
    clusters = _Deposits(total[rows], mean(deposits.x), mean(deposits.y), deposits.tx[rows], deposits.ty[rows])
    return clusters, rows, mean(off)


def _columns(
    photons: Columns, merged: tuple[_Deposits, Integers, Floats], geometry: Geometry, seed: int
) -> Columns:  # fmt: skip
    clusters, rows, off = merged
    calorimeter = geometry.calorimeter
    bright = clusters.energy > calorimeter.threshold
    found = np.flatnonzero(bright & calorimeter.covers(clusters.x, clusters.y))
    event, particle = photons["event"][rows[found]], photons["particle"][rows[found]]
    energy, x, y = clusters.energy[found], clusters.x[found], clusters.y[found]
    error = calorimeter.position_error(x, y, energy)
    # The reconstruction takes the slopes of a line from the origin.
    tx, ty = x / calorimeter.z, y / calorimeter.z
    deep = calorimeter.depth**2
    covariance = (
        error**2 + deep * tx * tx, deep * tx * ty, error**2 + deep * ty * ty,
        np.zeros_like(energy), np.zeros_like(energy), (calorimeter.resolution(energy) * energy) ** 2,
    )  # fmt: skip
    _, size = np.unique(event, return_counts=True)
    return {
        "event": event,
        "cluster": places(size),
        "particle": particle,
        "x": x,
        "y": y,
        "energy": energy,
        **dict(zip(CLUSTER_COVARIANCE, covariance, strict=True)),
        "photon_dll": _likelihood(event, particle, energy, off[found], seed),
        "clusters": np.repeat(size, size),
    }


def _likelihood(event: Integers, particle: Integers, energy: Floats, off: Floats, seed: int) -> Floats:
    """Of a photon minus that of a hadron or a merged pair, from the width of the shower.

    The width is measured in units of its error at infinite energy; cells with little energy blur it.
    """
    blur = np.sqrt(1 + 5000 / energy)
    noise = Stream(seed, "reference/photon/width").normal(event, particle, 1)[0]
    width = blur * noise + 2 * _WIDER * off
    wide = np.hypot(blur, _SPREAD)
    photon = -0.5 * (width / blur) ** 2 - np.log(blur)
    other = -0.5 * ((width - _WIDER) / wide) ** 2 - np.log(wide)
    return np.asarray(photon - other)
