"""Flash and reference side by side: the same generated events, each particle with the track that either made of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from flashlink.errors import RequestError
from flashlink.flashsim.analyse import B_PLUS, JPSI, is_true
from flashlink.flashsim.files import Columns
from flashlink.flashsim.kinematics import impact_chi2
from flashlink.flashsim.matching import first_rows, rows_of
from flashlink.flashsim.parameterizations.condition import Condition, Integers
from flashlink.flashsim.parameterizations.resolution import Tracks
from flashlink.flashsim.parameterize import residuals
from flashlink.flashsim.states import covariances, states

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Detector:
    """What one simulation made of the particles of the compared events.

    Attributes:
        name: "flash" or "reference".
        tracks: Its reconstructed sample, in the compared events.
        particles: The generated particles in them that were to be simulated.
        row: Row of `tracks` of each particle, -1 where it has none.
        candidates: Its candidates of all events.
        compared: Which of the candidates are of compared events.
        events: Number of all its events.
    """

    name: str
    tracks: Columns
    particles: Columns
    row: Integers
    candidates: Columns
    compared: Mask
    events: int

    @property
    def category(self) -> npt.NDArray[np.int8]:
        """Category of each particle's track, 0 for none."""
        return np.where(self.row >= 0, self.tracks["category"][self.row], 0).astype(np.int8)

    def of_particles(self, column: str) -> npt.NDArray[np.generic]:
        """A column of the tracks for each particle; without meaning where `row` is -1."""
        return np.asarray(self.tracks[column][self.row])

    @cached_property
    def residuals(self) -> Tracks:
        """Residuals and covariances of the tracks of particles, in the order of ``particles[row >= 0]``."""
        made = np.flatnonzero(self.row >= 0)
        tracks = {name: column[self.row[made]] for name, column in self.tracks.items()}
        return residuals(tracks, {name: column[made] for name, column in self.particles.items()})

    @property
    def pulls(self) -> Floats:
        """Residuals over quoted errors, (tracks, 5), in the order of `residuals`."""
        sigma = np.sqrt(np.einsum("nii->ni", self.residuals.covariance))
        return np.asarray(self.residuals.residual / sigma)

    @cached_property
    def impact(self) -> Floats:
        """chi2 of the impact parameter with respect to the reconstructed primary vertex, for each track."""
        point = np.stack([self.tracks[name] for name in ("pv_x", "pv_y", "pv_z")], axis=1)
        return impact_chi2(states(self.tracks), self.tracks["z"], covariances(self.tracks), point)

    def masses(self, pdg: int, column: str = "mass", *, compared: bool) -> Floats:
        """Masses (or another column) of the candidates of a kind, of the compared events alone or of all."""
        chosen = np.abs(self.candidates["pdg"]) == pdg
        return np.asarray(
            self.candidates[column][chosen & self.compared] if compared else self.candidates[column][chosen]
        )


@dataclass(frozen=True)
class Comparison:
    """Both simulations of the same events.

    Attributes:
        generated: Number of generated events, compared or not.
        events: Number of compared events.
        particles: The simulated particles of the compared events.
        condition: Their species, momentum and pseudorapidity.
        flash: The flash simulation.
        reference: The reference detector.
        vertices: True minus reconstructed primary vertices and multiplicity, by name of the detector.
    """

    generated: int
    events: int
    particles: Columns
    condition: Condition
    flash: Detector
    reference: Detector

    @property
    def detectors(self) -> tuple[Detector, Detector]:
        """Reference and flash, in the order of drawing."""
        return self.reference, self.flash

    @cached_property
    def prompt(self) -> Mask:
        """Particles from within 5 mm of the primary vertex and 2 < eta < 5: what efficiencies are quoted for."""
        away = np.sqrt(sum((self.particles[axis] - self.particles[f"pv_{axis}"]) ** 2 for axis in "xyz"))
        return np.asarray((away < 5) & (self.condition.eta > 2) & (self.condition.eta < 5))


def compare(
    generated: Columns, flash: Columns, reference: Columns, flash_candidates: Columns, reference_candidates: Columns
) -> Comparison:
    """Match both samples with the generated one, in the events that all three have.

    Raises:
        RequestError: There are none.
    """
    numbers = [np.unique(sample["event"]) for sample in (generated, flash, reference)]
    common = np.intersect1d(np.intersect1d(numbers[0], numbers[1]), numbers[2])
    if len(common) == 0:
        raise RequestError(
            f"report: the generated sample begins with event {numbers[0][0]}, the flash one with {numbers[1][0]}, the "
            f"reference one with {numbers[2][0]}, and they have no event in common; give samples of one production"
        )
    inside = np.isin(generated["event"], common)
    particles = _rows(generated, inside & generated["stable"] & (generated["charge"] != 0))
    condition = Condition.of(particles)

    def detector(name: str, tracks: Columns, candidates: Columns) -> Detector:
        compared = _rows(tracks, np.isin(tracks["event"], common))
        row = rows_of(particles["event"], particles["particle"], compared["event"], compared["particle"])
        known = candidates | {"true": is_true(candidates, generated)}
        events = len(first_rows(tracks["event"]))
        return Detector(name, compared, particles, row, known, np.isin(candidates["event"], common), events)

    return Comparison(
        generated=len(numbers[0]),
        events=len(common),
        particles=particles,
        condition=condition,
        flash=detector("flash", flash, flash_candidates),
        reference=detector("reference", reference, reference_candidates),
    )


def vertex_residuals(detector: Detector) -> tuple[Floats, Floats]:
    """Multiplicity, and reconstructed minus true primary vertex in mm, (events, 3), of the events with a track."""
    there = first_rows(detector.tracks["event"])
    events, here = np.unique(detector.particles["event"], return_index=True)
    here = here[np.searchsorted(events, detector.tracks["event"][there]).clip(max=len(events) - 1)]
    axes = ("pv_x", "pv_y", "pv_z")
    difference = np.stack([detector.tracks[axis][there] - detector.particles[axis][here] for axis in axes], axis=1)
    return detector.particles["multiplicity"][here].astype(np.float64), difference


def _rows(columns: Columns, rows: Mask) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


__all__ = ["B_PLUS", "JPSI", "Comparison", "Detector", "compare", "vertex_residuals"]
