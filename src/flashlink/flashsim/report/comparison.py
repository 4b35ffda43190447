"""Flash and reference side by side: the same generated events, each particle with the track that either made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flashlink.errors import RequestError
from flashlink.flashsim.analyse import CANDIDATES, TRUTH, is_true
from flashlink.flashsim.chunks import event_numbers, read_chunks
from flashlink.flashsim.files import Columns, read
from flashlink.flashsim.kinematics import impact_chi2
from flashlink.flashsim.matching import first_rows, rows_of
from flashlink.flashsim.parameterizations.condition import Condition, Integers
from flashlink.flashsim.parameterizations.resolution import Tracks
from flashlink.flashsim.parameterize import check_truth, residuals
from flashlink.flashsim.samples import GENERATED, RECONSTRUCTED
from flashlink.flashsim.states import covariances, states

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Events whose particles are compared one by one, at most: more would take memory and change no figure.
MOST_MATCHED = 20_000


@dataclass(frozen=True)
class Detector:
    """What one simulation made of the particles of the compared events.

    Attributes:
        name: "flash" or "reference".
        tracks: Its reconstructed sample, in the matched events.
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
        events: Number of compared events: those that both simulations have.
        matched: Number of those whose particles are compared one by one, the first ones.
        particles: The simulated particles of the matched events.
        condition: Their species, momentum and pseudorapidity.
        flash: The flash simulation.
        reference: The reference detector.
    """

    generated: int
    events: int
    matched: int
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


@dataclass(frozen=True)
class Samples:
    """The files that are compared.

    Attributes:
        generated: Generated samples.
        flash: Those of the flash simulation.
        reference: Those of the reference detector, of some of the events at least.
        flash_candidates: What the analysis made of all flash samples.
        reference_candidates: What it made of all reference samples.
    """

    generated: Sequence[Path]
    flash: Sequence[Path]
    reference: Sequence[Path]
    flash_candidates: Path
    reference_candidates: Path


def compare(samples: Samples) -> Comparison:
    """Match both simulations with the generated particles, in the events that all three have.

    Raises:
        RequestError: There are none, a file cannot be read, or tracks are not of the generated particles.
    """
    numbers = [event_numbers(paths) for paths in (samples.generated, samples.flash, samples.reference)]
    common = np.intersect1d(np.intersect1d(numbers[0], numbers[1]), numbers[2])
    if len(common) == 0:
        raise RequestError(
            f"report: the generated sample begins with event {numbers[0][0]}, the flash one with {numbers[1][0]}, the "
            f"reference one with {numbers[2][0]}, and they have no event in common; give samples of one production"
        )
    matched = common[:MOST_MATCHED]
    particles = read_chunks(samples.generated, GENERATED, matched)
    simulated = particles["stable"] & (particles["charge"] != 0)
    particles = {name: column[simulated] for name, column in particles.items()}

    def detector(name: str, files: Sequence[Path], candidates: Path, events: Integers) -> Detector:
        tracks = read_chunks(files, RECONSTRUCTED, matched)
        back = rows_of(tracks["event"], tracks["particle"], particles["event"], particles["particle"])
        check_truth(name, tracks, back, particles)
        row = rows_of(particles["event"], particles["particle"], tracks["event"], tracks["particle"])
        known = read(candidates, CANDIDATES)
        known["true"] = is_true(known, read_chunks(samples.generated, TRUTH, np.unique(known["event"])))
        return Detector(name, tracks, particles, row, known, np.isin(known["event"], common), len(events))

    return Comparison(
        generated=len(numbers[0]),
        events=len(common),
        matched=len(matched),
        particles=particles,
        condition=Condition.of(particles),
        flash=detector("flash", samples.flash, samples.flash_candidates, numbers[1]),
        reference=detector("reference", samples.reference, samples.reference_candidates, numbers[2]),
    )


def vertex_residuals(detector: Detector) -> tuple[Floats, Floats]:
    """Multiplicity, and reconstructed minus true primary vertex in mm, (events, 3), of the events with a track."""
    there = first_rows(detector.tracks["event"])
    events, here = np.unique(detector.particles["event"], return_index=True)
    here = here[np.searchsorted(events, detector.tracks["event"][there]).clip(max=len(events) - 1)]
    axes = ("pv_x", "pv_y", "pv_z")
    difference = np.stack([detector.tracks[axis][there] - detector.particles[axis][here] for axis in axes], axis=1)
    return detector.particles["multiplicity"][here].astype(np.float64), difference
