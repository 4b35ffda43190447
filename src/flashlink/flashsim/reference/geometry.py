"""The geometry: surfaces and the field of the reference detector, read from one file, ``geometry.toml``."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from flashlink.errors import RequestError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Kind = Literal["vertex", "upstream", "stations", "passive"]


@dataclass(frozen=True)
class Field:
    """The dipole: By(z) = peak exp(-(abs(z - centre) / width)^power), nothing along x and z.

    Attributes:
        peak: T.
        centre: mm.
        width: mm.
        power: Sharpness of the edges.
    """

    peak: float
    centre: float
    width: float
    power: float

    def by(self, z: float) -> float:
        """The field at `z`, in T."""
        return float(self.peak * math.exp(-((abs(z - self.centre) / self.width) ** self.power)))


@dataclass(frozen=True)
class Foil:
    """The wall between beam and vertex detector, a cylinder that a particle crosses before the first plane.

    Attributes:
        radius: mm.
        radiation: Thickness in radiation lengths, on average over the incidences.
        interaction: Thickness in nuclear interaction lengths.
        texture: Relative spread of the thickness that a particle meets.
    """

    radius: float
    radiation: float
    interaction: float
    texture: float = 0.0


@dataclass(frozen=True)
class Search:
    """What the pattern recognition needs and loses; see ``geometry.toml``."""

    vertex_hits: int
    upstream_hits: int
    station_hits: int
    largest_chi2: float
    efficiency: float
    occupancy_loss: float
    softness: float
    upstream_efficiency: float
    largest_slope: float
    wrong_hits: float
    wrong_window: float


@dataclass(frozen=True)
class Ghosts:
    """How noise makes tracks; see ``geometry.toml``."""

    rate: float
    station_hits: float
    upstream_hits: float
    window: float
    least_momentum: float
    log_odds: tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Radiator:
    """A Cherenkov detector; see ``geometry.toml``."""

    name: str
    refractivity: float
    photons: float
    resolution: float
    track_resolution: float
    background: float
    overlap: float
    least_share: float
    largest_angle: float
    end: float
    before_magnet: bool


@dataclass(frozen=True)
class Calorimeter:
    """The electromagnetic calorimeter; see ``geometry.toml``."""

    z: float
    inner: tuple[float, float]
    zones: tuple[tuple[float, float, float], ...]
    threshold: float
    position: float
    position_constant: float
    depth: float
    stochastic: float
    constant: float
    mip: float
    mip_width: float
    through: float
    radiated: float
    neighbours: float

    def covers(self, x: Floats, y: Floats) -> Flags:
        """Whether places on its face, in mm, lie on it and not in the hole."""
        width, height, _ = self.zones[-1]
        inside = (np.abs(x) < width) & (np.abs(y) < height)
        return np.asarray(inside & ((np.abs(x) > self.inner[0]) | (np.abs(y) > self.inner[1])))

    def cell(self, x: Floats, y: Floats) -> Floats:
        """Side of the cell at places on its face, mm."""
        inside = [(np.abs(x) < width) & (np.abs(y) < height) for width, height, _ in self.zones[:-1]]
        return np.asarray(np.select(inside, [side for _, _, side in self.zones[:-1]], self.zones[-1][2]))

    def resolution(self, energy: Floats) -> Floats:
        """Relative error of an energy in MeV: stochastic and constant term."""
        return np.asarray(np.hypot(self.stochastic / np.sqrt(energy / 1000), self.constant))

    def position_error(self, x: Floats, y: Floats, energy: Floats) -> Floats:
        """Error of the place of a shower of `energy` MeV in x and in y, mm."""
        return np.asarray(self.cell(x, y) * np.hypot(self.position / np.sqrt(energy / 1000), self.position_constant))


@dataclass(frozen=True)
class Muons:
    """The muon chambers and the absorbers between them; see ``geometry.toml``."""

    least_momentum: tuple[float, float, float, float]
    depth: tuple[float, float, float, float]
    efficiency: float
    straggling: float
    attenuation: float
    random: float
    window: float
    absorber: float
    momenta: tuple[float, float]


@dataclass(frozen=True)
class Detector:
    """Equal surfaces across the beam, as written in the file; `Geometry.surfaces` takes them apart.

    Attributes:
        name: Unique.
        kind: What its hits are for; ``passive`` has none.
        z: Positions, mm.
        radiation: Thickness of each surface in radiation lengths.
        interaction: In nuclear interaction lengths.
        half_width: Extent in x, mm.
        half_height: Extent in y, mm.
        inner_half: Half side of the square hole for the beam pipe, mm.
        inner_radius: Of a round hole, mm.
        outer_radius: Of a disc, mm.
        angles: Of the measured coordinate, degrees from x towards y: one for each surface, or for ``vertex`` two that
            every surface measures.
        resolution: Root mean square of the errors of its hits, mm.
        efficiency: Probability of a hit.
        texture: Relative spread of the thickness from place to place.
        spread: Relative spread of the errors of hits: clusters differ in size and charge.
    """

    name: str
    kind: Kind
    z: tuple[float, ...]
    radiation: float
    interaction: float
    half_width: float = math.inf
    half_height: float = math.inf
    inner_half: float = 0.0
    inner_radius: float = 0.0
    outer_radius: float = math.inf
    angles: tuple[float, ...] = ()
    resolution: float = 0.0
    efficiency: float = 0.0
    texture: float = 0.0
    spread: float = 0.0


@dataclass(frozen=True)
class Surface:
    """One plane across the beam.

    Attributes:
        name: Detector and number.
        z: mm.
        detector: What it belongs to.
        coordinates: cos and sin of the angle of each coordinate that it measures.
        first: Row of its first coordinate among the measurements of a particle.
        number: Place among the surfaces.
    """

    name: str
    z: float
    detector: Detector
    coordinates: tuple[tuple[float, float], ...]
    first: int
    number: int

    @property
    def last(self) -> int:
        """One past the row of its last coordinate."""
        return self.first + len(self.coordinates)

    def crossed(self, x: Floats, y: Floats) -> Flags:
        """Whether points of the plane lie on the material, and not outside it or in the hole."""
        shape = self.detector
        radius = np.hypot(x, y)
        inside = (radius > shape.inner_radius) & (radius < shape.outer_radius)
        inside &= (np.abs(x) < shape.half_width) & (np.abs(y) < shape.half_height)
        return np.asarray(inside & ((np.abs(x) > shape.inner_half) | (np.abs(y) > shape.inner_half)))


@dataclass(frozen=True)
class Geometry:
    """The whole detector, as the file says."""

    field: Field
    foil: Foil
    search: Search
    ghosts: Ghosts
    radiator: tuple[Radiator, ...]
    calorimeter: Calorimeter
    muons: Muons
    detector: tuple[Detector, ...]

    @cached_property
    def surfaces(self) -> tuple[Surface, ...]:
        """All planes along z."""
        surfaces: list[Surface] = []
        row = 0
        for detector in self.detector:
            for number, z in enumerate(detector.z):
                angles = _angles(detector, number)
                coordinates = tuple((math.cos(math.radians(angle)), math.sin(math.radians(angle))) for angle in angles)
                surfaces.append(Surface(f"{detector.name}-{number}", z, detector, coordinates, row, len(surfaces)))
                row += len(coordinates)
        return tuple(surfaces)

    def rows(self, kind: Kind) -> list[int]:
        """Rows of the first coordinates of the surfaces of a kind, along z."""
        return [surface.first for surface in self.surfaces if surface.detector.kind == kind]

    @cached_property
    def resolutions(self) -> Floats:
        """Root mean square of the errors of each coordinate that a particle can have measured, mm."""
        return np.array([surface.detector.resolution for surface in self.surfaces for _ in surface.coordinates])

    @property
    def coordinates(self) -> int:
        """How many coordinates a particle can have measured."""
        return self.surfaces[-1].last

    @property
    def digest(self) -> str:
        """Tells geometries apart."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


def _angles(detector: Detector, number: int) -> tuple[float, ...]:
    if detector.kind == "vertex":
        return detector.angles
    return (detector.angles[number],) if detector.angles else ()


def read_geometry(text: bytes) -> Geometry:
    """The geometry that a TOML text describes.

    Raises:
        RequestError: Something is missing, of the wrong type, or not in order along z.
    """
    try:
        geometry = msgspec.toml.decode(text, type=Geometry)
    except msgspec.MsgspecError as error:
        raise RequestError(f"geometry: {error}") from error
    places = [surface.z for surface in geometry.surfaces]
    if places != sorted(places):
        raise RequestError("geometry: the surfaces do not stand in order along z; sort the detectors")
    return geometry


def default_geometry() -> Geometry:
    """The geometry that flashlink ships."""
    return read_geometry((files(__package__) / "geometry.toml").read_bytes())
