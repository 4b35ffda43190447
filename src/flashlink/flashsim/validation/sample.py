"""Both simulations of the same particles, as variables that can be compared: one array each, a row a track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flashlink.errors import RequestError
from flashlink.flashsim.chunks import event_numbers, read_chunks
from flashlink.flashsim.files import Columns
from flashlink.flashsim.likelihoods import PARTS
from flashlink.flashsim.matching import rows_of
from flashlink.flashsim.parameterizations.condition import Condition
from flashlink.flashsim.parameterize import residuals
from flashlink.flashsim.samples import GENERATED, HITS, LONG, RECONSTRUCTED, TRACK_PARAMETERS

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Variables = dict[str, Floats]


@dataclass(frozen=True)
class Side:
    """What one simulation made of the particles.

    Attributes:
        made: Which of the particles have a track, shape (particles,).
        long: Which of them have a long one.
        conditions: What the tracks' particles are, and the category of the track; arrays of shape (tracks,).
        track: States, covariances and quality of the tracks, relative to the truth.
        pid: What tells species.
    """

    made: Mask
    long: Mask
    conditions: Variables
    track: Variables
    pid: Variables


@dataclass(frozen=True)
class Pair:
    """Both simulations of the same particles.

    Attributes:
        events: How many events they are of.
        conditions: Of all particles, shape (particles,).
        reference: The detailed simulation.
        flash: The flash simulation.
    """

    events: int
    conditions: Variables
    reference: Side
    flash: Side


def read_pair(generated: Sequence[Path], flash: Sequence[Path], reference: Sequence[Path], most: int) -> Pair:
    """Match both simulations with the generated particles, in at most `most` of the events that all three have.

    Raises:
        RequestError: They have no event in common, or a file cannot be read.
    """
    numbers = [event_numbers(paths) for paths in (generated, flash, reference)]
    common = np.intersect1d(np.intersect1d(numbers[0], numbers[1]), numbers[2])[:most]
    if len(common) == 0:
        raise RequestError("validate: the three samples have no event in common; give samples of one production")
    particles = read_chunks(generated, GENERATED, common)
    seen = np.flatnonzero(particles["stable"] & (particles["charge"] != 0))
    particles = {name: column[seen] for name, column in particles.items()}
    sides = [side(particles, read_chunks(paths, RECONSTRUCTED, common)) for paths in (reference, flash)]
    return Pair(len(common), conditions(particles), *sides)


def side(particles: Columns, tracks: Columns) -> Side:
    """What a simulation made of stable charged particles, given its reconstructed sample."""
    row = rows_of(particles["event"], particles["particle"], tracks["event"], tracks["particle"])
    made = row >= 0
    tracks = {name: column[row[made]] for name, column in tracks.items()}
    truth = {name: column[made] for name, column in particles.items()}
    long = made.copy()
    long[made] = tracks["category"] == LONG
    known = conditions(truth) | {"category": tracks["category"].astype(np.float64)}
    pid = {name: np.asarray(tracks[name], dtype=np.float64) for name in ("is_muon", *PARTS)}
    return Side(made, long, known, _track(truth, tracks), pid)


def conditions(particles: Columns) -> Variables:
    """What a simulation is conditioned on: species, momentum, direction, charge, origin and multiplicity."""
    condition = Condition.of(particles)
    away = np.hypot(particles["x"] - particles["pv_x"], particles["y"] - particles["pv_y"])
    return {
        "species": condition.species.astype(np.float64),
        "log10 p": condition.log_p,
        "eta": condition.eta,
        "phi": np.arctan2(particles["py"], particles["px"]),
        "charge": particles["charge"].astype(np.float64),
        "origin z": condition.origin_z,
        "origin rho": away,
        "multiplicity": condition.multiplicity,
    }


def _track(truth: Columns, tracks: Columns) -> Variables:
    """Pulls, errors, correlations and quality: as much as state and covariance together, but free of the momentum."""
    made = residuals(tracks, truth)
    sigma = np.sqrt(np.einsum("nii->ni", made.covariance))
    correlation = made.covariance / sigma[:, :, None] / sigma[:, None, :]
    variables = {f"pull {name}": made.residual[:, k] / sigma[:, k] for k, name in enumerate(TRACK_PARAMETERS)}
    sigma[:, 4] *= 10 ** Condition.of(truth).log_p
    variables |= {f"log sigma {name}": np.log(sigma[:, k]) for k, name in enumerate(TRACK_PARAMETERS)}
    for row, column in zip(*np.tril_indices(5, -1), strict=True):
        variables[f"correlation {TRACK_PARAMETERS[row]} {TRACK_PARAMETERS[column]}"] = correlation[:, row, column]
    variables["chi2/ndf"] = tracks["chi2"] / tracks["ndf"]
    quality = ("ndf", "ghost_probability", *HITS)
    return variables | {name: np.asarray(tracks[name], dtype=np.float64) for name in quality}
