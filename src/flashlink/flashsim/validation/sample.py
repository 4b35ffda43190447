"""Both simulations of the same particles, as variables that can be compared: a row a track or a vertex."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flashlink.errors import RequestError
from flashlink.flashsim.chunks import event_numbers, read_chunks
from flashlink.flashsim.files import Columns
from flashlink.flashsim.learned.ghosts import encoded as encoded_ghosts
from flashlink.flashsim.likelihoods import PARTS
from flashlink.flashsim.matching import first_rows, rows_of
from flashlink.flashsim.parameterizations.condition import Condition
from flashlink.flashsim.parameterizations.photons import PhotonCondition
from flashlink.flashsim.parameterize import check_truth, check_units, residuals
from flashlink.flashsim.photons import calorimeter_z, check_clusters, photons_of
from flashlink.flashsim.photons import residuals as cluster_residuals
from flashlink.flashsim.samples import GENERATED, HITS, LONG, PHOTONS, RECONSTRUCTED, TRACK_PARAMETERS
from flashlink.flashsim.states import vertex_covariances

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Variables = dict[str, Floats]

#: Tracks that each simulation has to have, at least.
LEAST_TRACKS = 500


@dataclass(frozen=True)
class Group:
    """Variables that belong together: those of tracks, of their identification, of primary vertices, of ghosts.

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
        groups: ``track``, ``identification``, ``vertex`` and ``ghost``, and ``photon`` where clusters were given.
        photons: Which of the generated photons have a cluster, shape (photons,); empty without clusters.
    """

    row: npt.NDArray[np.int64]
    tracks: Columns
    groups: dict[str, Group]
    photons: Mask = field(default_factory=lambda: np.zeros(0, dtype=bool))

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
        photons: Conditions of the generated photons, where clusters were given.
    """

    generated: Columns
    particles: Columns
    conditions: Variables
    reference: Side
    flash: Side
    photons: Variables = field(default_factory=dict)

    @classmethod
    def of(cls, generated: Columns, reference: Columns, flash: Columns) -> Pair:
        """Match two reconstructed samples with the generated particles of the same events.

        Raises:
            RequestError: A track is of none of the particles, or of another species.
        """
        particles = _rows(generated, np.flatnonzero(generated["stable"] & (generated["charge"] != 0)))
        sides = [
            _side(name, generated, particles, tracks) for name, tracks in (("reference", reference), ("flash", flash))
        ]
        return cls(generated, particles, conditions(particles), sides[0], sides[1])

    def with_photons(self, reference: Columns, flash: Columns, z: float) -> Pair:
        """The same with the clusters of both; `z` is where these are, mm."""
        photons = photons_of(self.generated)
        condition = PhotonCondition.of(photons, z)
        sides = []
        for name, side, clusters in zip(("reference", "flash"), self.sides, (reference, flash), strict=True):
            rows = rows_of(clusters["event"], clusters["particle"], photons["event"], photons["particle"])
            found = np.zeros(len(photons["event"]), dtype=bool)
            found[rows] = True
            check_clusters(f"{name} photons", clusters, condition[rows])
            groups = side.groups | {"photon": _photons(clusters, condition[rows], z)}
            sides.append(replace(side, groups=groups, photons=found))
        return replace(self, reference=sides[0], flash=sides[1], photons=_photon_conditions(condition, z))

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


def read_pair(
    generated: Sequence[Path], flash: Sequence[Path], reference: Sequence[Path], most: int,
    photons: tuple[Sequence[Path], Sequence[Path]] = ((), ()),
) -> Pair:  # fmt: skip
    """Match both simulations with the generated particles, in at most `most` of the events that all three have.

    Args:
        generated: Files of the generated sample.
        flash: Of the flash simulation's tracks.
        reference: Of the detailed simulation's tracks.
        most: Events at most.
        photons: Files of the clusters of the detailed and of the flash simulation, in this order; none by default.

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
    if not all(photons):
        return pair
    clusters = [read_chunks(paths, PHOTONS, common) for paths in photons]
    return pair.with_photons(clusters[0], clusters[1], calorimeter_z(photons[0][0]))


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


def _side(name: str, generated: Columns, particles: Columns, sample: Columns) -> Side:
    back = rows_of(sample["event"], sample["particle"], particles["event"], particles["particle"])
    check_truth(name, sample, back, particles)
    row = rows_of(particles["event"], particles["particle"], sample["event"], sample["particle"])
    made = row >= 0
    tracks, truth = _rows(sample, row[made]), _rows(particles, made)
    check_units(f"{name} sample", tracks, truth)
    known = conditions(truth) | {"category": tracks["category"].astype(np.float64)}
    identification = {name: np.asarray(tracks[name], dtype=np.float64) for name in ("is_muon", *PARTS)}
    groups = {
        "track": Group(known, _track(truth, tracks)),
        "identification": Group(known, identification),
        "vertex": _vertices(generated, sample),
        "ghost": _ghosts(generated, sample),
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


def _photon_conditions(condition: PhotonCondition, z: float) -> Variables:
    """Direction as seen from the origin, and place on the face."""
    return {
        "log10 p": condition.log_e,
        "eta": np.arcsinh(z / np.hypot(condition.x, condition.y)),
        "phi": np.arctan2(condition.y, condition.x),
        "x": condition.x,
        "y": condition.y,
        "multiplicity": condition.multiplicity,
    }


def _photons(clusters: Columns, condition: PhotonCondition, z: float) -> Group:
    """Pulls, errors, correlation and likelihood of clusters."""
    made = cluster_residuals(clusters, condition)
    sigma = np.sqrt(np.einsum("nii->ni", made.covariance))
    names = ("photon x", "photon y", "photon energy")
    variables = {f"pull {name}": made.residual[:, k] / sigma[:, k] for k, name in enumerate(names)}
    variables |= {f"log sigma {name}": np.log(sigma[:, k]) for k, name in enumerate(names)}
    variables["correlation photon y x"] = made.covariance[:, 1, 0] / sigma[:, 0] / sigma[:, 1]
    return Group(_photon_conditions(condition, z), variables | {"photon_dll": made.dll})


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


def _ghosts(generated: Columns, tracks: Columns) -> Group:
    """Line, errors, correlations, quality and likelihoods of tracks that no particle made."""
    ghosts = _rows(tracks, tracks["particle"] < 0)
    events = first_rows(generated["event"])
    row = events[np.searchsorted(generated["event"][events], ghosts["event"])]
    variables = encoded_ghosts(ghosts) | {"chi2/ndf": ghosts["chi2"] / np.maximum(ghosts["ndf"], 1)}
    variables |= {name: ghosts[name] for name in ("category", "ghost_probability", *HITS, "is_muon", *PARTS)}
    known = {"multiplicity": generated["multiplicity"][row].astype(np.float64)}
    return Group(known, {f"ghost {name}": values.astype(np.float64) for name, values in variables.items()})
