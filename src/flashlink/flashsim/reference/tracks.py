"""Pattern recognition: from hits to categories, and noise that looks like a track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from flashlink.flashsim.files import Columns
from flashlink.flashsim.random import Stream
from flashlink.flashsim.reference.geometry import Geometry, Kind
from flashlink.flashsim.reference.kalman import Fit, Hits, fit, positive_definite
from flashlink.flashsim.reference.passage import FIELD_START, Passage
from flashlink.flashsim.reference.propagate import bend, straight
from flashlink.flashsim.samples import DOWNSTREAM, LONG, UPSTREAM

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_STATIONS = 3

#: How well the pattern recognition knows q/p when the fit starts, in parts of itself.
_SEED_RESOLUTION = {LONG: 0.01, DOWNSTREAM: 0.01, UPSTREAM: 0.15}


@dataclass(frozen=True)
class Tracks:
    """Fitted tracks.

    Attributes:
        rows: The particle of each, as a row of the particles; for a ghost the one whose vertex segment it has.
        ghost: Whether noise made it.
        category: LONG, UPSTREAM or DOWNSTREAM.
        fit: The fits.
        layers: Hits in the vertex detector, the upstream tracker and the stations, shape (3, n).
        features: What the ghost probability is made of, shape (4, n): chi2/ndf, missing layers, log10 of the momentum
            in MeV, charged particles of the event / 100.
    """

    rows: Integers
    ghost: Flags
    category: npt.NDArray[np.int8]
    fit: Fit
    layers: Integers
    features: Floats

    def ghost_probability(self, geometry: Geometry) -> Floats:
        """From 0 to 1."""
        constant, *slopes = geometry.ghosts.log_odds
        return np.asarray(special.expit(constant + sum(map(np.multiply, slopes, self.features))))


def find_tracks(particles: Columns, passage: Passage, geometry: Geometry, seed: int) -> Tracks:
    """Find and fit the tracks of particles, and of noise.

    Args:
        particles: Columns of a generated sample, as given to `passage.transport`.
        passage: What they left.
        geometry: The detector.
        seed: Seed of the production.
    """
    segments = Segments.of(passage.measured, geometry)
    category = categories(particles, segments, geometry, seed)
    found = [
        _fitted(particles, passage, np.flatnonzero(category == number), number, geometry, seed)
        for number in (LONG, UPSTREAM, DOWNSTREAM)
    ]
    found.append(_ghosts(particles, passage, segments, geometry, seed))
    tracks = _joined(found)
    order = np.lexsort((particles["particle"][tracks.rows], tracks.ghost, particles["event"][tracks.rows]))
    return _selected(tracks, order)


@dataclass(frozen=True)
class Segments:
    """Whether there are enough hits for a segment in the vertex detector, the upstream tracker and the stations."""

    vertex: Flags
    upstream: Flags
    stations: Flags

    @classmethod
    def of(cls, measured: Floats, geometry: Geometry) -> Segments:
        """Count the hits of each particle; `measured` has shape (coordinates, n)."""
        hit = np.isfinite(measured)
        search = geometry.search
        rows = geometry.rows("stations")
        layers = hit[rows].reshape(_STATIONS, len(rows) // _STATIONS, hit.shape[1])
        return cls(
            hit[geometry.rows("vertex")].sum(axis=0) >= search.vertex_hits,
            hit[geometry.rows("upstream")].sum(axis=0) >= search.upstream_hits,
            (layers.sum(axis=1) >= search.station_hits).all(axis=0),
        )


def categories(particles: Columns, segments: Segments, geometry: Geometry, seed: int) -> npt.NDArray[np.int8]:
    """The category of each particle, 0 if it is not found."""
    search = geometry.search
    chance = Stream(seed, "reference/search").uniform(particles["event"], particles["particle"], 2)
    p = np.sqrt(particles["px"] ** 2 + particles["py"] ** 2 + particles["pz"] ** 2)
    clean = 1 - search.occupancy_loss * particles["multiplicity"]
    through = segments.stations & (chance[0] < search.efficiency * clean * np.maximum(1 - search.softness / p, 0))
    before = segments.upstream & (chance[1] < search.upstream_efficiency * clean)
    return np.select(
        [segments.vertex & through, segments.vertex & before, ~segments.vertex & segments.upstream & through],
        [LONG, UPSTREAM, DOWNSTREAM],
        0,
    ).astype(np.int8)


def _fitted(
    particles: Columns, passage: Passage, rows: Integers, category: int, geometry: Geometry, seed: int
) -> Tracks:
    kind: Kind = "upstream" if category == UPSTREAM else "stations"
    seeds = (passage.upstream if category == UPSTREAM else passage.stations)[:, rows].copy()
    smear = Stream(seed, "reference/seed").normal(particles["event"][rows], particles["particle"][rows], 1)[0]
    seeds[4] *= np.exp(_SEED_RESOLUTION[category] * smear)
    measured = passage.measured[:, rows].copy()
    if category == DOWNSTREAM:
        measured[: geometry.rows("vertex")[-1] + 2] = np.nan
    if category == UPSTREAM:
        measured[geometry.rows("stations")] = np.nan
    hits = Hits(measured, passage.errors[:, rows], passage.thickness[:, rows])
    fitted = fit(hits, seeds, _last_z(geometry, kind), geometry)
    return _accepted(rows, False, category, fitted, measured, particles, geometry)


def _last_z(geometry: Geometry, kind: Kind) -> float:
    return max(surface.z for surface in geometry.surfaces if surface.detector.kind == kind)


def _ghosts(
    particles: Columns, passage: Passage, segments: Segments, geometry: Geometry, seed: int
) -> Tracks:  # fmt: skip
    """Vertex segments that are continued by noise hits, at a momentum that the noise decides."""
    ghosts = geometry.ghosts
    event, particle = particles["event"], particles["particle"]
    chance = Stream(seed, "reference/ghost").uniform(event, particle, 2)
    rows = np.flatnonzero(segments.vertex & (chance[0] < ghosts.rate * particles["multiplicity"]))
    pz = particles["pz"][rows]
    # noise is even in the angle of bending, so in q/p
    qop = (2 * chance[1, rows] - 1) / ghosts.least_momentum
    state = np.stack(
        [particles["x"][rows], particles["y"][rows], particles["px"][rows] / pz, particles["py"][rows] / pz, qop]
    )
    measured, state = _noise(state, particles["z"][rows], event[rows], particle[rows], geometry, seed)
    found = Segments.of(measured, geometry)
    good = np.flatnonzero(found.vertex & found.stations & (np.abs(state[2]) < geometry.search.largest_slope))
    measured, rows = measured[:, good], rows[good]
    errors = np.repeat(geometry.resolutions[:, None], len(rows), axis=1)
    hits = Hits(measured, errors, passage.thickness[:, rows])
    fitted = fit(hits, state[:, good], _last_z(geometry, "stations"), geometry)
    return _accepted(rows, True, LONG, fitted, measured, particles, geometry)


def _noise(
    state: Floats, origin: Floats, event: Integers, particle: Integers, geometry: Geometry, seed: int
) -> tuple[Floats, Floats]:
    """Hits around trajectories: true ones in the vertex detector, noise behind it.

    Returns:
        The coordinates, shape (coordinates, n), and the states at the last surface.
    """
    ghosts = geometry.ghosts
    measured = np.full((geometry.coordinates, len(event)), np.nan)
    z, last = origin, 0.0
    for surface in geometry.surfaces:
        if surface.z <= FIELD_START:
            state = straight(state, surface.z - z)
            z = np.full_like(origin, surface.z)
        else:
            state = bend(state, last, surface.z, geometry.field)
        last = surface.z
        shape = surface.detector
        inside = surface.crossed(state[0], state[1]) & (surface.z > origin)
        probability = {"vertex": shape.efficiency, "upstream": ghosts.upstream_hits, "stations": ghosts.station_hits}
        stream = Stream(seed, f"reference/ghost/{surface.name}")
        chance = stream.uniform(event, particle, 1 + len(surface.coordinates))
        inside &= chance[0] < probability.get(shape.kind, 0.0)
        window = np.sqrt(3) if shape.kind == "vertex" else ghosts.window
        for number, (cosine, sine) in enumerate(surface.coordinates):
            shift = window * shape.resolution * (2 * chance[1 + number] - 1)
            measured[surface.first + number] = np.where(inside, cosine * state[0] + sine * state[1] + shift, np.nan)
    return measured, state


def _accepted(
    rows: Integers, ghost: bool, category: int, fitted: Fit, measured: Floats, particles: Columns, geometry: Geometry
) -> Tracks:
    """Only the tracks of good chi2 and sound covariance."""
    quality = fitted.chi2 / fitted.ndf
    kinds: tuple[Kind, ...] = ("vertex", "upstream", "stations")
    layers = np.stack([np.isfinite(measured[geometry.rows(kind)]).sum(axis=0) for kind in kinds])
    expected = [len(geometry.rows(kind)) for kind in kinds[1 : 2 if category == UPSTREAM else 3]]
    missing = sum(expected) - layers[1:].sum(axis=0)
    features = np.stack([quality, missing, -np.log10(np.abs(fitted.state[4])), particles["multiplicity"][rows] / 100])
    tracks = Tracks(
        rows, np.full(len(rows), ghost), np.full(len(rows), category, dtype=np.int8), fitted, layers, features
    )
    good = (quality >= 0) & (quality < geometry.search.largest_chi2)
    return _selected(tracks, np.flatnonzero(good & positive_definite(fitted.covariance)))


def _selected(tracks: Tracks, rows: Integers) -> Tracks:
    fitted = tracks.fit
    return Tracks(
        tracks.rows[rows], tracks.ghost[rows], tracks.category[rows],
        Fit(
            fitted.state[:, rows], fitted.covariance[:, :, rows], fitted.z[rows], fitted.chi2[rows], fitted.ndf[rows]
        ),
        tracks.layers[:, rows], tracks.features[:, rows],
    )  # fmt: skip


def _joined(parts: list[Tracks]) -> Tracks:
    fits = [part.fit for part in parts]
    return Tracks(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.ghost for part in parts]),
        np.concatenate([part.category for part in parts]),
        Fit(
            np.concatenate([fit.state for fit in fits], axis=1),
            np.concatenate([fit.covariance for fit in fits], axis=2),
            np.concatenate([fit.z for fit in fits]),
            np.concatenate([fit.chi2 for fit in fits]),
            np.concatenate([fit.ndf for fit in fits]),
        ),
        np.concatenate([part.layers for part in parts], axis=1),
        np.concatenate([part.features for part in parts], axis=1),
    )
