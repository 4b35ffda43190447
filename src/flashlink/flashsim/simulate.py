"""The flash simulation: generated particles and parameterizations in, reconstructed tracks out.

Every random number belongs to (seed, event, particle), so the tracks of an event are the same whatever else is
simulated, in whichever order and in however large batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from flashlink import __version__
from flashlink.flashsim import tables
from flashlink.flashsim.chunks import digests
from flashlink.flashsim.files import Columns as Rows
from flashlink.flashsim.learned import models
from flashlink.flashsim.likelihoods import PARTS, combined
from flashlink.flashsim.matching import first_rows
from flashlink.flashsim.parameterizations.condition import Condition, Floats, Integers, has_species
from flashlink.flashsim.parameterizations.event import EventCondition, from_primary
from flashlink.flashsim.parameterizations.interface import Parameterizations
from flashlink.flashsim.parameterizations.resolution import QUALITY
from flashlink.flashsim.random import Draws
from flashlink.flashsim.samples import HITS, RECONSTRUCTED, VERTEX_COVARIANCE
from flashlink.flashsim.states import Columns, moved, moved_covariance, state_columns, to_beam, true_states

#: Columns of a sample of the flash simulation: the reference's, and whether the particle was outside the
#: range that the parameterizations were trained in.
SIMULATED = RECONSTRUCTED | {"extrapolated": "bool"}

#: Particles that are simulated at once: so many that the last chunk of a network, which is filled up, costs little.
BATCH = 65536


def simulate(generated: Columns, learned: Parameterizations, seed: int, batch: int = BATCH) -> Rows:
    """Simulate all stable charged particles of a generated sample.

    Args:
        generated: Its columns, ordered by event.
        learned: The parameterizations.
        seed: Seed of the production.
        batch: Particles at once; the result does not depend on it.

    Returns:
        The columns of a reconstructed sample, ordered by event, then by particle, ghosts last.
    """
    parts = [_tracks(particles, learned, seed) for particles in _batches(generated, batch)]
    events = {
        name: generated[name][first_rows(generated["event"])]
        for name in ("event", "multiplicity", "pv_x", "pv_y", "pv_z")
    }
    condition = _event_condition(events, parts)
    vertices = _vertices(events, condition, learned, seed)
    number = learned.ghosts.number(condition, Draws(seed, events["event"], np.zeros_like(events["event"])))
    if number.any():
        parts.append(_ghosts(events, condition, number, vertices["pv_z"], learned, seed))
    particle, event = (np.concatenate([part[name] for part in parts]) for name in ("particle", "event"))
    # Ghosts have particle -1, which would come first.
    order = np.lexsort((particle < 0, event))
    # One after the other, and out of the parts, so that memory holds them once.
    tracks = {name: np.concatenate([part.pop(name) for part in parts])[order] for name in list(parts[-1])}
    where = np.searchsorted(events["event"], tracks["event"])
    tracks |= {name: column[where] for name, column in vertices.items()}
    counts = np.bincount(where, minlength=len(events["event"]))
    tracks["tracks"] = counts[where]
    tracks["track"] = np.arange(len(where)) - (np.cumsum(counts) - counts)[where]
    return {name: tracks[name].astype(dtype, copy=False) for name, dtype in SIMULATED.items()}


def read_parameterizations(path: Path | None) -> tuple[Parameterizations, str]:
    """Read parameterizations, with a sha256 that tells them from others: of the tables, or of the models' manifest.

    Args:
        path: A file of tables, or a folder of models; None for the models that come with flashlink.

    Raises:
        RequestError: There is none, or it is not whole.
    """
    path = path or models.shipped()
    if path.is_dir():
        return models.read(path), digests([path / "manifest.json"])[0]
    return tables.read(path), digests([path])[0]


def provenance(learned: Parameterizations, seed: int) -> dict[str, object]:
    """What a simulated sample notes of how it was made."""
    noted = {"step": "simulate", "seed": seed, "version": __version__, "learned_version": learned.version}
    return noted | {"trained_on": list(learned.trained_on)}


def _batches(generated: Columns, batch: int) -> Iterator[Rows]:
    rows = np.flatnonzero(generated["stable"] & (generated["charge"] != 0))
    for start in range(0, max(len(rows), 1), batch):
        yield _rows(generated, rows[start : start + batch])


def _rows(columns: Columns, rows: Integers) -> Rows:
    return {name: column[rows] for name, column in columns.items()}


def _tracks(particles: Columns, learned: Parameterizations, seed: int) -> Rows:
    """The tracks that one batch of particles becomes."""
    draws = Draws(seed, particles["event"], particles["particle"])
    drawn = learned.sample(Condition.of(particles), draws)
    particles = _rows(particles, drawn.rows)
    likelihoods = dict(zip(PARTS, drawn.likelihoods.T, strict=True))
    quality: Rows = dict(zip(QUALITY, drawn.tracks.quality.T, strict=True))
    quality |= {name: np.rint(quality[name]) for name in ("ndf", *HITS)}
    state, z = true_states(particles)
    return {
        "event": particles["event"],
        "particle": particles["particle"],
        "true_pdg": particles["pdg"],
        "category": drawn.category,
        **_at_beam(state + drawn.tracks.residual, z, drawn.tracks.covariance),
        **quality,
        "is_muon": drawn.is_muon,
        **likelihoods,
        **combined(likelihoods),
        # What counts as a proton is none.
        "extrapolated": drawn.extrapolated | ~has_species(particles["pdg"]),
        "prompt": from_primary(particles),
    }


def _event_condition(events: Rows, parts: list[Rows]) -> EventCondition:
    """What vertices and ghosts are conditioned on, from the tracks of all particles."""
    wanted = ("event", "particle", "category", "cov_x_x", "cov_y_y", "tx", "ty", "prompt")
    tracks = {name: np.concatenate([part[name] for part in parts]) for name in wanted}
    # Sums are over particles in the order of their numbers, so they do not depend on that of the rows, to the last bit.
    order = np.lexsort((tracks["particle"], tracks["event"]))
    tracks = {name: column[order] for name, column in tracks.items()}
    event = np.searchsorted(events["event"], tracks["event"])
    return EventCondition.of(events["multiplicity"].astype(np.float64), event, tracks, tracks["prompt"])


def _at_beam(state: Floats, z: Floats, covariance: Floats) -> Rows:
    """The columns of the states, moved to where the reconstructed line itself is closest to the beam axis."""
    step = to_beam(state)
    columns: Rows = dict(state_columns(moved(state, step), moved_covariance(covariance, step)))
    return columns | {"z": z + step, "p": 1 / np.abs(state[:, 4]), "charge": np.sign(state[:, 4])}


def _vertices(events: Rows, condition: EventCondition, learned: Parameterizations, seed: int) -> Rows:
    """The columns of the reconstructed primary vertex of each event."""
    true = np.stack([events[name] for name in ("pv_x", "pv_y", "pv_z")], axis=1)
    draws = Draws(seed, events["event"], np.zeros_like(events["event"]))
    residual, covariance = learned.vertex.sample(condition, draws)
    triangle = covariance[:, *np.tril_indices(3)]
    columns = dict(zip(("pv_x", "pv_y", "pv_z"), (true + residual).T, strict=True))
    return columns | dict(zip(VERTEX_COVARIANCE, triangle.T, strict=True))


def _ghosts(
    events: Rows, condition: EventCondition, number: Integers, vertex_z: Floats, learned: Parameterizations, seed: int
) -> Rows:  # fmt: skip
    """The ghosts of all events, `number` of each."""
    of_event = np.repeat(np.arange(len(number)), number)
    event = events["event"][of_event]
    which = np.arange(len(of_event)) - np.repeat(np.cumsum(number) - number, number)
    drawn = learned.ghosts.sample(condition[of_event], Draws(seed, event, which))
    nobody = {
        "particle": np.full(len(event), -1),
        "true_pdg": np.zeros(len(event)),
        "extrapolated": np.zeros(len(event)),
    }
    at_beam = _at_beam(drawn.state, drawn.z + vertex_z[of_event], drawn.covariance)
    return {"event": event, **nobody, **drawn.quality, **at_beam, **combined(drawn.quality)}
