"""Derive the flash simulation's tables from a detailed simulation: generated particles and the tracks they became."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flashlink import __version__
from flashlink.errors import RequestError, wrong
from flashlink.flashsim.matching import first_rows, rows_of
from flashlink.flashsim.parameterizations.condition import Condition
from flashlink.flashsim.parameterizations.efficiency import Efficiency
from flashlink.flashsim.parameterizations.ghosts import VARIABLES as GHOST_VARIABLES
from flashlink.flashsim.parameterizations.ghosts import Ghosts
from flashlink.flashsim.parameterizations.grid import Grid
from flashlink.flashsim.parameterizations.identification import VARIABLES as LIKELIHOODS
from flashlink.flashsim.parameterizations.identification import Identification
from flashlink.flashsim.parameterizations.resolution import QUALITY, Resolution, Tracks
from flashlink.flashsim.parameterizations.vertex import Vertex
from flashlink.flashsim.samples import COVARIANCE, TRACK_PARAMETERS, VERTEX_COVARIANCE
from flashlink.flashsim.states import (
    Columns,
    check_definite,
    covariances,
    moved,
    states,
    true_states,
    vertex_covariances,
)
from flashlink.flashsim.tables import FORMAT, Tables, Training
from flashlink.flashsim.units import check_errors, check_values

#: Fewer reconstructed particles than this cannot fill the bins.
LEAST_TRACKS = 1000


#: Median ratio of reconstructed and true momenta that no detector reaches; a wrong unit is a factor of 1000.
_OFF = 2.0

#: Tracks that are looked at for their units.
_LOOKED_AT = 20_000


@dataclass(frozen=True)
class Matched:
    """A training sample: what was generated and what the detailed simulation made of it.

    Attributes:
        generated: The generated particles of the events that both have.
        reference: The reconstructed sample.
        particles: Those of `generated` that are stable and charged.
        category: The category of each of them, 0 where it was not reconstructed.
        tracks: The tracks of `reference` that are of one of them.
        truth: The particle of each.
    """

    generated: Columns
    reference: Columns
    particles: Columns
    category: npt.NDArray[np.int8]
    tracks: Columns
    truth: Columns


def match(generated: Columns, reference: Columns, least: int = LEAST_TRACKS) -> Matched:
    """Match tracks with their particles; events that only one of the samples has are left out.

    Raises:
        RequestError: The samples do not belong together, or have fewer than `least` tracks.
    """
    generated = _selected(generated, np.isin(generated["event"], reference["event"]))
    reference = _selected(reference, np.isin(reference["event"], generated["event"]))
    particles = _selected(generated, generated["stable"] & (generated["charge"] != 0))
    rows = rows_of(reference["event"], reference["particle"], particles["event"], particles["particle"])
    _check(reference, rows, particles, least)
    category = _categories(len(particles["event"]), rows, reference["category"])
    tracks, truth = _selected(reference, rows >= 0), _selected(particles, rows[rows >= 0])
    check_units("reference sample", tracks, truth)
    check_definite("reference sample", reference, COVARIANCE, len(TRACK_PARAMETERS))
    check_definite("reference sample", reference, VERTEX_COVARIANCE, 3)
    return Matched(generated, reference, particles, category, tracks, truth)


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
    matched = match(generated, reference)
    tracks = matched.tracks
    condition, of_track = Condition.of(matched.particles), Condition.of(matched.truth)
    grid = Grid.fit(of_track)
    accepted = grid.accepts(condition)
    return Tables(
        format=FORMAT,
        version=__version__,
        training=Training(
            *digests, events=len(first_rows(matched.generated["event"])), particles=len(condition),
            tracks=len(matched.reference["event"]),
        ),
        grid=grid,
        efficiency=Efficiency.fit(condition[accepted], grid, matched.category[accepted]),
        resolution=Resolution.fit(of_track, grid, tracks["category"].astype(np.int8), residuals(tracks, matched.truth)),
        identification=Identification.fit(
            of_track, grid, tracks["category"].astype(np.int8), tracks["is_muon"].astype(bool),
            np.stack([tracks[name] for name in LIKELIHOODS], axis=1),
        ),
        vertex=fit_vertex(matched),
        ghosts=fit_ghosts(matched, grid),
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


_ADVICE = "give the generated files that it was made from, and select the same particles of both"


def check_truth(sample: str, tracks: Columns, rows: npt.NDArray[np.int64], simulated: Columns) -> None:
    """Check that tracks are of the particles that they are matched with.

    Args:
        sample: Whose tracks they are, for the message.
        tracks: Columns ``event``, ``particle`` and ``true_pdg`` of a reconstructed sample.
        rows: The row of each track's particle, -1 for none.
        simulated: The stable charged particles.

    Raises:
        RequestError: A track is of none of the particles, or of another species.
    """
    real = tracks["particle"] >= 0
    lost = np.flatnonzero(real & (rows < 0))
    if len(lost):
        event, particle = tracks["event"][lost[0]], tracks["particle"][lost[0]]
        raise RequestError(
            f"{sample} sample: event {event}, particle {particle} is no stable charged particle of the "
            f"generated sample; {_ADVICE}"
        )
    different = np.flatnonzero(real & (tracks["true_pdg"] != simulated["pdg"][rows]))
    if len(different):
        event, particle = tracks["event"][different[0]], tracks["particle"][different[0]]
        raise RequestError(
            f"{sample} sample: event {event}, particle {particle} has true_pdg {tracks['true_pdg'][different[0]]}, "
            f"the generated one {simulated['pdg'][rows[different[0]]]}; {_ADVICE}"
        )


def _check(reference: Columns, rows: npt.NDArray[np.int64], simulated: Columns, least: int) -> None:
    if not len(reference["event"]):
        raise RequestError(f"reference sample: none of its events is in the generated sample; {_ADVICE}")
    check_truth("reference", reference, rows, simulated)
    real = reference["particle"] >= 0
    if real.sum() < least:
        raise RequestError(
            f"reference sample: {real.sum()} tracks of particles of the generated sample are not the {least} "
            "that are needed at least; generate and simulate more events for the training"
        )


def check_units(place: str, tracks: Columns, truth: Columns) -> None:
    """Check tracks against their true particles, row by row: what most of them have tells the units.

    Args:
        place: The sample, for the message.
        tracks: Columns of a reconstructed sample.
        truth: Of the generated particle of each.

    Raises:
        RequestError: A column, or one of the covariance, is in another unit than its particles are.
    """
    if not len(tracks["event"]):
        return
    tracks, truth = ({name: column[:_LOOKED_AT] for name, column in sample.items()} for sample in (tracks, truth))
    true = np.sqrt(sum(truth[name] ** 2 for name in ("px", "py", "pz")))
    ratio = float(np.median(np.abs(tracks["qop"]) * true))
    if not 1 / _OFF < ratio < _OFF:
        raise wrong(
            f"{place}: column qop, times the true momentum (median)", float(f"{ratio:.3g}"), "about 1",
            "give qop in 1/MeV, or its unit in the mapping",
        )  # fmt: skip
    line, z = true_states(truth)
    for name, true in zip((*TRACK_PARAMETERS, "z"), (*line.T, z), strict=True):
        check_values(place, tracks, name, true)
    residual = residuals(tracks, truth).residual
    for name, difference in zip(TRACK_PARAMETERS, residual.T, strict=True):
        check_errors(place, tracks, f"cov_{name}_{name}", difference)
    events = first_rows(tracks["event"])
    tracks, truth = _selected(tracks, events), _selected(truth, events)
    for axis in "xyz":
        check_values(place, tracks, f"pv_{axis}", truth[f"pv_{axis}"])
        check_errors(place, tracks, f"pv_cov_{axis}_{axis}", tracks[f"pv_{axis}"] - truth[f"pv_{axis}"])


def _categories(
    particles: int, rows: npt.NDArray[np.int64], category: Columns | npt.NDArray[Any]
) -> npt.NDArray[np.int8]:
    categories = np.zeros(particles, dtype=np.int8)
    # Backwards, so that the first of several tracks of one particle stays.
    real = np.flatnonzero(rows >= 0)[::-1]
    categories[rows[real]] = np.asarray(category)[real]
    return categories


def fit_vertex(matched: Matched) -> Vertex:
    """The parameterization of the primary vertex, from that of each reconstructed event."""
    generated, reference = matched.generated, matched.reference
    there = first_rows(reference["event"])
    here = first_rows(generated["event"])
    here = here[np.searchsorted(generated["event"][here], reference["event"][there])]
    residual = np.stack([reference[name][there] - generated[name][here] for name in ("pv_x", "pv_y", "pv_z")], axis=1)
    quoted = {name: reference[name][there] for name in VERTEX_COVARIANCE}
    return Vertex.fit(generated["multiplicity"][here].astype(np.float64), residual, vertex_covariances(quoted))


def fit_ghosts(matched: Matched, grid: Grid) -> Ghosts:
    """The parameterization of ghosts."""
    generated, ghosts = matched.generated, _selected(matched.reference, matched.reference["particle"] < 0)
    events = first_rows(generated["event"])
    multiplicity = generated["multiplicity"][events].astype(np.float64)
    of_ghost = np.searchsorted(generated["event"][events], ghosts["event"])
    values = dict(ghosts) | {"z": ghosts["z"] - ghosts["pv_z"]}
    factor = np.linalg.cholesky(covariances(ghosts))[:, *np.tril_indices(5)]
    vectors = np.concatenate([np.stack([values[name] for name in GHOST_VARIABLES], axis=1), factor], axis=1)
    return Ghosts.fit(grid, multiplicity, multiplicity[of_ghost], vectors.astype(np.float64))
