"""Both simulations of the same particles, as variables that can be compared: a row a track or a vertex."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flashlink.errors import RequestError
from flashlink.flashsim.chunks import event_numbers, read_chunks
from flashlink.flashsim.files import Columns
from flashlink.flashsim.likelihoods import PARTS
from flashlink.flashsim.matching import first_rows, rows_of
from flashlink.flashsim.parameterizations.condition import Condition
from flashlink.flashsim.parameterize import residuals
from flashlink.flashsim.samples import GENERATED, HITS, LONG, RECONSTRUCTED, TRACK_PARAMETERS
from flashlink.flashsim.states import vertex_covariances

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Variables = dict[str, Floats]

#: Tracks that each simulation has to have, at least.
LEAST_TRACKS = 500


@dataclass(frozen=True)
class Group:
    """Variables that belong together: those of tracks, of their identification, of primary vertices.

    Attributes:
        conditions: What the rows are conditioned on; arrays of shape (rows,).
        variables: What the simulation drew for them.
    """

    conditions: Variables
    variables: Variables

    def __len__(self) -> int:
        """The number of rows."""
        return len(next(iter(self.variables.values())))


@dataclass(frozen=True)
class Side:
    """What one simulation made of the particles.

    Attributes:
        row: Row in `tracks` of each particle, -1 where it has none; shape (particles,).
        tracks: The reconstructed sample.
        groups: ``track``, ``pid`` and ``vertex``.
    """

    row: npt.NDArray[np.int64]
    tracks: Columns
    groups: dict[str, Group]

    @property
    def made(self) -> Mask:
        """Which of the particles have a track."""
        return np.asarray(self.row >= 0)

    @property
    def category(self) -> npt.NDArray[np.int8]:
        """Category of each particle's track, 0 for none."""
        return np.where(self.made, self.tracks["category"][self.row], 0).astype(np.int8)

    @property
    def long(self) -> Mask:
        """Which of the tracks, in the order of the groups, are long tracks of all but electrons.

        No quoted error covers the radiation of electrons.
        """
        known = self.groups["track"].conditions
        return np.asarray((known["category"] == LONG) & (known["species"] != 0))

    def of_particles(self, column: str) -> Floats:
        """A column of the tracks, for each particle that has one."""
        return np.asarray(self.tracks[column][self.row[self.made]], dtype=np.float64)


@dataclass(frozen=True)
class Pair:
    """Both simulations of the same particles.

    Attributes:
        generated: All rows of the compared events.
        particles: The stable charged ones.
        conditions: Of those, shape (particles,).
        reference: The detailed simulation.
        flash: The flash simulation.
    """

    generated: Columns
    particles: Columns
    conditions: Variables
    reference: Side
    flash: Side

    @classmethod
    def of(cls, generated: Columns, reference: Columns, flash: Columns) -> Pair:
        """Match two reconstructed samples with the generated particles of the same events."""
        particles = _rows(generated, np.flatnonzero(generated["stable"] & (generated["charge"] != 0)))
        sides = [_side(generated, particles, tracks) for tracks in (reference, flash)]
        return cls(generated, particles, conditions(particles), *sides)

    @property
    def sides(self) -> tuple[Side, Side]:
        """Reference and flash, in this order everywhere."""
        return self.reference, self.flash

    @property
    def events(self) -> int:
        """How many events are compared."""
        return len(first_rows(self.generated["event"]))

    def groups(self) -> Iterator[tuple[str, Group, Group]]:
        """Name and both sides of each group."""
        for name, ours in self.reference.groups.items():
            yield name, ours, self.flash.groups[name]


def read_pair(generated: Sequence[Path], flash: Sequence[Path], reference: Sequence[Path], most: int) -> Pair:
    """Match both simulations with the generated particles, in at most `most` of the events that all three have.

    Raises:
        RequestError: They have no event in common, or a file cannot be read.
    """
    numbers = [event_numbers(paths) for paths in (generated, flash, reference)]
    common = np.intersect1d(np.intersect1d(numbers[0], numbers[1]), numbers[2])[:most]
    if len(common) == 0:
        raise RequestError("validate: the three samples have no event in common; give samples of one production")
    samples = [read_chunks(paths, RECONSTRUCTED, common) for paths in (reference, flash)]
    pair = Pair.of(read_chunks(generated, GENERATED, common), *samples)
    tracks = min(int(side.made.sum()) for side in pair.sides)
    if tracks < LEAST_TRACKS:
        raise RequestError(
            f"validate: {tracks} tracks of particles in {len(common)} common events; {LEAST_TRACKS} are needed "
            "at least: simulate more events"
        )
    return pair


def conditions(particles: Columns) -> Variables:
    """What a simulation is conditioned on: species, momentum, direction, charge, origin and multiplicity."""
    condition = Condition.of(particles)
    away = np.hypot(particles["x"] - particles["pv_x"], particles["y"] - particles["pv_y"])
    return {
        "species": condition.species.astype(np.float64),
        "log10 p": condition.log_p,
        "eta": condition.eta,
        "phi": condition.phi,
        "charge": condition.charge,
        "origin z": condition.origin_z,
        "origin rho": away,
        "multiplicity": condition.multiplicity,
    }


def _side(generated: Columns, particles: Columns, sample: Columns) -> Side:
    row = rows_of(particles["event"], particles["particle"], sample["event"], sample["particle"])
    made = row >= 0
    tracks, truth = _rows(sample, row[made]), _rows(particles, made)
    known = conditions(truth) | {"category": tracks["category"].astype(np.float64)}
    pid = {name: np.asarray(tracks[name], dtype=np.float64) for name in ("is_muon", *PARTS)}
    groups = {
        "track": Group(known, _track(truth, tracks)),
        "pid": Group(known, pid),
        "vertex": _vertices(generated, sample),
    }
    return Side(row, sample, groups)


def _rows(columns: Columns, rows: npt.NDArray[np.int64] | Mask) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


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


def _vertices(generated: Columns, tracks: Columns) -> Group:
    """Pulls and errors of the primary vertex of each event that has a track."""
    there, here = first_rows(tracks["event"]), first_rows(generated["event"])
    here = here[np.searchsorted(generated["event"][here], tracks["event"][there])]
    quoted = vertex_covariances(_rows(tracks, there))
    variables = {}
    for k, axis in enumerate("xyz"):
        sigma = np.sqrt(quoted[:, k, k])
        variables[f"pull pv_{axis}"] = (tracks[f"pv_{axis}"][there] - generated[f"pv_{axis}"][here]) / sigma
        variables[f"log sigma pv_{axis}"] = np.log(sigma)
    return Group({"multiplicity": generated["multiplicity"][here].astype(np.float64)}, variables)
