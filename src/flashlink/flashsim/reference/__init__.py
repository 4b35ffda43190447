"""The reference detector: what the flash simulation learns from, in place of Geant4 and a reconstruction.

::

    particles ─► passage ─► tracks ─► identification ─► sample
                 hits        fits  └► vertex

It is a forward spectrometer in the manner of LHCb's, simulated in detail (``geometry.toml`` has all its numbers),
slower than the flash simulation and honest about being a toy. Every random number belongs to a particle of an event.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from flashlink import __version__
from flashlink.errors import wrong
from flashlink.flashsim.files import Columns
from flashlink.flashsim.parameterizations.condition import species_of
from flashlink.flashsim.reference.geometry import Geometry, default_geometry
from flashlink.flashsim.reference.identification import identify
from flashlink.flashsim.reference.passage import transport
from flashlink.flashsim.reference.tracks import Tracks, find_tracks
from flashlink.flashsim.reference.vertex import fit_vertices
from flashlink.flashsim.samples import COVARIANCE, HITS, RECONSTRUCTED, TRACK_PARAMETERS, VERTEX_COVARIANCE

__all__ = ["provenance", "reconstruct"]

#: Particles a pass, about: their arrays stay in the cache. Whole events only.
_CHUNK = 2000

#: The constraint of the primary vertex: wider than any beam spot in x and y, so that it only steadies, mm.
_BEAM_SPOT = np.array([0.1, 0.1, 100.0])


def reconstruct(particles: Columns, seed: int, geometry: Geometry | None = None) -> tuple[Columns, dict[str, Any]]:
    """Simulate and reconstruct the stable charged particles of a generated sample.

    Args:
        particles: Its columns, ordered by event.
        seed: Seed of the production.
        geometry: The detector; the one that flashlink ships by default.

    Returns:
        The columns of a reconstructed sample, and what to note of it.

    Raises:
        RequestError: The rows are not ordered by event.
    """
    back = np.flatnonzero(np.diff(particles["event"]) < 0)
    if len(back):
        seen_event = int(particles["event"][back[0] + 1])
        raise wrong(f"column event, row {back[0] + 1}", seen_event, "as large as the one before", "sort by event")
    geometry = geometry or default_geometry()
    seen = particles["stable"] & (particles["charge"] != 0)
    chosen = {name: values[seen] for name, values in particles.items()}
    parts = [_reconstruct_chunk(chunk, seed, geometry) for chunk in _chunks(chosen)]
    parts.append({name: np.zeros(0, dtype=dtype) for name, dtype in RECONSTRUCTED.items()})
    columns = {
        name: np.concatenate([part[name] for part in parts]).astype(RECONSTRUCTED[name]) for name in RECONSTRUCTED
    }
    return columns, provenance(seed, geometry)


def provenance(seed: int, geometry: Geometry | None = None) -> dict[str, Any]:
    """What a sample of the reference detector notes of how it was made."""
    return {
        "kind": "reconstructed",
        "by": "reference",
        "seed": seed,
        "geometry": (geometry or default_geometry()).digest,
        "versions": {"flashlink": __version__},
    }


def _chunks(particles: Columns) -> list[Columns]:
    """Groups of whole events."""
    event = particles["event"]
    starts = np.flatnonzero(np.diff(event, prepend=event[:1] - 1))
    cuts = np.unique(starts[np.searchsorted(starts, np.arange(_CHUNK, len(event), _CHUNK), side="right") - 1])
    edges = [0, *cuts[cuts > 0].tolist(), len(event)] if len(event) else [0]
    return [{name: values[first:last] for name, values in particles.items()} for first, last in pairwise(edges)]


def _reconstruct_chunk(particles: Columns, seed: int, geometry: Geometry) -> Columns:
    passage = transport(particles, geometry, seed)
    tracks = find_tracks(particles, passage, geometry, seed)
    species = species_of(particles["pdg"])
    _, event = np.unique(particles["event"][tracks.rows], return_inverse=True)
    vertices = fit_vertices(event, tracks.category, tracks.fit, _BEAM_SPOT)
    triangle = [(row, column) for row in range(3) for column in range(row + 1)]
    return {
        **_track_columns(particles, tracks, geometry),
        **identify(particles, species, passage, tracks, geometry, seed),
        **dict(zip(("pv_x", "pv_y", "pv_z"), vertices.position[:, event], strict=True)),
        **{name: vertices.covariance[place][event] for name, place in zip(VERTEX_COVARIANCE, triangle, strict=True)},
    }


def _track_columns(particles: Columns, tracks: Tracks, geometry: Geometry) -> Columns:
    fitted, rows = tracks.fit, tracks.rows
    event = particles["event"][rows]
    _, first, size = np.unique(event, return_index=True, return_counts=True)
    columns: Columns = dict(zip(TRACK_PARAMETERS, fitted.state, strict=True))
    places = [(row, column) for row in range(5) for column in range(row + 1)]
    columns |= {name: fitted.covariance[place] for name, place in zip(COVARIANCE, places, strict=True)}
    return columns | {
        "event": event,
        "track": np.arange(len(event)) - np.repeat(first, size),
        "particle": np.where(tracks.ghost, -1, particles["particle"][rows]),
        "true_pdg": np.where(tracks.ghost, 0, particles["pdg"][rows]),
        "category": tracks.category,
        "charge": np.sign(fitted.state[4]),
        "z": fitted.z,
        "p": 1 / np.abs(fitted.state[4]),
        "chi2": fitted.chi2,
        "ndf": fitted.ndf,
        **dict(zip(HITS, tracks.layers, strict=True)),
        "ghost_probability": tracks.ghost_probability(geometry),
        "tracks": np.repeat(size, size),
    }
