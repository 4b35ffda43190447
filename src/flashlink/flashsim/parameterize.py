"""Derive the flash simulation's tables from a detailed simulation: generated particles and the tracks they became."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flashlink import __version__
from flashlink.errors import RequestError
from flashlink.flashsim.matching import first_rows, rows_of
from flashlink.flashsim.parameterizations.condition import Condition, Floats
from flashlink.flashsim.parameterizations.efficiency import Efficiency
from flashlink.flashsim.parameterizations.ghosts import VARIABLES as GHOST_VARIABLES
from flashlink.flashsim.parameterizations.ghosts import Ghosts
from flashlink.flashsim.parameterizations.grid import Grid
from flashlink.flashsim.parameterizations.identification import VARIABLES as LIKELIHOODS
from flashlink.flashsim.parameterizations.identification import Identification
from flashlink.flashsim.parameterizations.resolution import QUALITY, Resolution, Tracks
from flashlink.flashsim.parameterizations.vertex import Vertex
from flashlink.flashsim.samples import VERTEX_COVARIANCE
from flashlink.flashsim.states import Columns, covariances, moved, states, true_states, vertex_covariances
from flashlink.flashsim.tables import FORMAT, Tables, Training

#: Fewer reconstructed particles than this cannot fill the bins.
LEAST_TRACKS = 1000


def parameterize(
    generated: Columns, reference: Columns, digests: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
) -> Tables:
    """Derive all parameterizations.

    Events that only one of the samples has are left out, so the reference may be of a part of the generated events.

    Args:
        generated: Columns of a generated sample.
        reference: Columns of the reconstructed sample of the reference detector.
        digests: sha256 of the files that they come from.

    Raises:
        RequestError: The samples do not belong together or are too small.
    """
    generated = _selected(generated, np.isin(generated["event"], reference["event"]))
    simulated = _selected(generated, generated["stable"] & (generated["charge"] != 0))
    rows = rows_of(reference["event"], reference["particle"], simulated["event"], simulated["particle"])
    _check(reference, rows, simulated)
    tracks, truth = _selected(reference, rows >= 0), _selected(simulated, rows[rows >= 0])
    condition, of_track = Condition.of(simulated), Condition.of(truth)
    grid = Grid.fit(of_track)
    accepted = grid.accepts(condition)
    category = _categories(len(condition), rows, reference["category"])
    return Tables(
        format=FORMAT,
        version=__version__,
        training=Training(
            *digests, events=len(first_rows(generated["event"])), particles=len(condition), tracks=len(rows)
        ),
        grid=grid,
        efficiency=Efficiency.fit(condition[accepted], grid, category[accepted]),
        resolution=Resolution.fit(of_track, grid, tracks["category"].astype(np.int8), residuals(tracks, truth)),
        identification=Identification.fit(
            of_track, grid, tracks["category"].astype(np.int8), tracks["is_muon"].astype(bool),
            np.stack([tracks[name] for name in LIKELIHOODS], axis=1),
        ),
        vertex=Vertex.fit(*_vertices(generated, reference)),
        ghosts=_ghosts(grid, generated, _selected(reference, reference["particle"] < 0)),
    )  # fmt: skip


def residuals(tracks: Columns, truth: Columns) -> Tracks:
    """Residuals, covariances and quality of tracks, row by row with their true particles.

    The true line is taken at the z where the reconstructed track is closest to the beam.
    """
    line, z = true_states(truth)
    return Tracks(
        residual=states(tracks) - moved(line, tracks["z"] - z),
        covariance=covariances(tracks),
        quality=np.stack([tracks[name] for name in QUALITY], axis=1).astype(np.float64),
    )


def _selected(columns: Columns, rows: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    return {name: column[rows] for name, column in columns.items()}


def _check(reference: Columns, rows: npt.NDArray[np.int64], simulated: Columns) -> None:
    advice = "give the generated files that the reference was made from"
    real = reference["particle"] >= 0
    lost = np.flatnonzero(real & (rows < 0))
    if len(lost):
        event, particle = reference["event"][lost[0]], reference["particle"][lost[0]]
        raise RequestError(
            f"reference sample: event {event}, particle {particle} is no stable charged particle of the "
            f"generated sample; {advice}"
        )
    different = np.flatnonzero(real & (reference["true_pdg"] != simulated["pdg"][rows]))
    if len(different):
        event, particle = reference["event"][different[0]], reference["particle"][different[0]]
        raise RequestError(
            f"reference sample: event {event}, particle {particle} has true_pdg {reference['true_pdg'][different[0]]}, "
            f"the generated one {simulated['pdg'][rows[different[0]]]}; {advice}"
        )
    if real.sum() < LEAST_TRACKS:
        raise RequestError(
            f"reference sample: {real.sum()} tracks of particles of the generated sample are not the {LEAST_TRACKS} "
            "that tables need at least; generate and simulate more events for the training"
        )


def _categories(
    particles: int, rows: npt.NDArray[np.int64], category: Columns | npt.NDArray[Any]
) -> npt.NDArray[np.int8]:
    categories = np.zeros(particles, dtype=np.int8)
    # Backwards, so that the first of several tracks of one particle stays.
    real = np.flatnonzero(rows >= 0)[::-1]
    categories[rows[real]] = np.asarray(category)[real]
    return categories


def _vertices(generated: Columns, reference: Columns) -> tuple[Floats, Floats, Floats]:
    """Multiplicity, residual and covariance of the primary vertex of each reconstructed event."""
    there = first_rows(reference["event"])
    here = first_rows(generated["event"])
    here = here[np.searchsorted(generated["event"][here], reference["event"][there])]
    residual = np.stack([reference[name][there] - generated[name][here] for name in ("pv_x", "pv_y", "pv_z")], axis=1)
    quoted = {name: reference[name][there] for name in VERTEX_COVARIANCE}
    return generated["multiplicity"][here].astype(np.float64), residual, vertex_covariances(quoted)


def _ghosts(grid: Grid, generated: Columns, ghosts: Columns) -> Ghosts:
    events = first_rows(generated["event"])
    multiplicity = generated["multiplicity"][events].astype(np.float64)
    of_ghost = np.searchsorted(generated["event"][events], ghosts["event"])
    values = dict(ghosts) | {"z": ghosts["z"] - ghosts["pv_z"]}
    factor = np.linalg.cholesky(covariances(ghosts))[:, *np.tril_indices(5)]
    vectors = np.concatenate([np.stack([values[name] for name in GHOST_VARIABLES], axis=1), factor], axis=1)
    return Ghosts.fit(grid, multiplicity, multiplicity[of_ghost], vectors.astype(np.float64))
