"""What is learned of events and photons: primary vertices, ghosts, clusters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.learned import ghosts, photons, quality, vertex
from flashlink.flashsim.learned.quality import Degrees
from flashlink.flashsim.learned.targets import PARTIALS, SIGMAS
from flashlink.flashsim.learned.training.problem import Problem, likelihoods, slices, weights
from flashlink.flashsim.learned.training.steps import steps
from flashlink.flashsim.learned.variables import Apart, Classes, Continuous
from flashlink.flashsim.likelihoods import PARTS
from flashlink.flashsim.matching import first_rows
from flashlink.flashsim.parameterizations.condition import Floats
from flashlink.flashsim.parameterizations.event import EventCondition, from_primary
from flashlink.flashsim.parameterize import Matched
from flashlink.flashsim.photons import matched_clusters, photons_of
from flashlink.flashsim.samples import VERTEX_COVARIANCE
from flashlink.flashsim.states import Columns, vertex_covariances

#: Fewer ghosts than this are none: nothing can be learned of them.
LEAST_GHOSTS = 100

#: Slices of the momentum of ghosts, at most, and ghosts in one, at least.
GHOST_SLICES, LEAST_SLICE = 24, 50


def event_problems(matched: Matched, degrees: Degrees) -> Iterator[Problem]:
    """Of the primary vertex, and of ghosts if there are `LEAST_GHOSTS`.

    Args:
        matched: The training sample.
        degrees: How ndf follows from the hits of its tracks.
    """
    generated, reference = matched.generated, matched.reference
    events = first_rows(generated["event"])
    event = generated["event"][events]
    condition = EventCondition.of(
        generated["multiplicity"][events].astype(np.float64),
        np.searchsorted(event, matched.tracks["event"]), matched.tracks, from_primary(matched.truth),
    )  # fmt: skip
    weight = weights(matched.generated)[events]
    yield _vertex(reference, {name: generated[name][events] for name in ("pv_x", "pv_y", "pv_z")}, event, condition)
    found = np.flatnonzero(reference["particle"] < 0)
    if len(found) < LEAST_GHOSTS:
        return
    tracks = {name: column[found] for name, column in reference.items()}
    row = np.searchsorted(event, tracks["event"])
    seen = vertex.event_features(condition)
    counted = np.bincount(row, minlength=len(event)).astype(np.float64)
    number = (Classes.of("ghosts", counted),)
    yield Problem("ghosts", ghosts.FEATURES, seen, number, {"ghosts": counted}, event, weight)
    yield _ghost(tracks, seen[row], degrees)


def photon_problems(generated: Columns, clusters: Columns, z: float) -> tuple[photons.PhotonRanges, list[Problem]]:
    """Of the efficiency of photons and of their clusters, and what the training had.

    Args:
        generated: Columns of the generated sample.
        clusters: Those that a detailed simulation made of all its events.
        z: Where their places are, mm.

    Raises:
        RequestError: The samples do not belong together or are too small.
    """
    condition, rows, made = matched_clusters(dict(generated), dict(clusters), z)
    found = np.zeros(len(condition))
    found[rows] = 1
    ranges = photons.PhotonRanges.of(z, condition, rows)
    seen, of_photon = photons.features(condition), photons_of(dict(generated))
    event, weight = of_photon["event"], weights(of_photon)
    condition = condition[rows]
    values = photons.encoded(made, condition)
    ratio = np.zeros(len(found))
    ratio[rows] = values[photons.RATIO]
    efficiency = (
        Classes.of("cluster", found),
        Continuous.of(photons.RATIO, values[photons.RATIO], "cluster", (False, True)),
    )
    of_photons = {"cluster": found, photons.RATIO: ratio}
    of_clusters = np.concatenate([seen[rows], photons.measured(condition, values[photons.RATIO])], axis=1)
    variables = tuple(Continuous.of(name, values[name]) for name in photons.VARIABLES)
    apart = (slices("log E", of_clusters[:, photons.MEASURED.index("log E")]),)
    return ranges, [
        Problem("photon", photons.FEATURES, seen, efficiency, of_photons, event, weight),
        Problem("cluster", photons.MEASURED, of_clusters, variables, values, event[rows], weight[rows], apart),
    ]


def _vertex(
    reference: Columns, true: Mapping[str, npt.NDArray[np.float64]], event: npt.NDArray[np.int64],
    condition: EventCondition,
) -> Problem:  # fmt: skip
    there = first_rows(reference["event"])
    row = np.searchsorted(event, reference["event"][there])
    residual = np.stack([reference[name][there] - true[name][row] for name in ("pv_x", "pv_y", "pv_z")], axis=1)
    quoted = vertex_covariances({name: reference[name][there] for name in VERTEX_COVARIANCE})
    values = vertex.encoded(residual, quoted)
    names = (*vertex.SIGMAS, *vertex.PARTIALS, *vertex.PULLS)
    return Problem(
        "vertex", vertex.FEATURES, vertex.vertex_features(condition[row]),
        tuple(Continuous.of(name, values[name]) for name in names), values, event[row], weights({"event": row}),
    )  # fmt: skip


def _ghost(tracks: Columns, seen: Floats, degrees: Degrees) -> Problem:
    """Kind, slice of momentum and hits, the line, its errors, then what depends on these."""
    of_likelihoods, values = likelihoods(tracks)
    values |= ghosts.encoded(tracks) | quality.encoded(tracks)
    log_p = values.pop("log p").astype(np.float64)
    values |= ghosts.sliced(log_p, steps(log_p, np.stack([tracks[name] for name in PARTS]), GHOST_SLICES, LEAST_SLICE))
    values["category"] = tracks["category"].astype(np.float64)
    classes = [Classes.of(name, values[name]) for name in ("category", ghosts.SLICE, *degrees.counted, "charge")]
    smooth = (*ghosts.LINE, *SIGMAS, *PARTIALS, *quality.SMOOTH)
    variables = (
        *classes,
        *(Continuous.of(name, values[name]) for name in smooth),
        *of_likelihoods,
    )
    apart = (Apart(ghosts.SLICE, classes[1].values),)
    return Problem("ghost", ghosts.FEATURES, seen, variables, values, tracks["event"], weights(tracks), apart, PARTS)
