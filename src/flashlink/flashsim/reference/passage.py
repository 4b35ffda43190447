"""The passage of particles through the detector, surface after surface: the simulation that leaves hits behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.files import Columns
from flashlink.flashsim.parameterizations.condition import ELECTRON, species_of
from flashlink.flashsim.random import Stream
from flashlink.flashsim.reference import material
from flashlink.flashsim.reference.decay import MASSES, decay, decay_place
from flashlink.flashsim.reference.geometry import Detector, Foil, Geometry, Surface
from flashlink.flashsim.reference.propagate import bend, cylinder_distance, straight

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Nuclear cross section of each species relative to the proton's, which the interaction lengths are for. Rough: those
#: of silicon (PDG, atomic and nuclear properties) say 0.79 for pions.
_HADRONIC = np.array([0.0, 0.0, 0.87, 0.78, 1.0])

#: Where the field begins; before, particles go straight.
FIELD_START = 1000.0


@dataclass(frozen=True)
class Passage:
    """What a set of n particles left in the detector, and what became of them.

    Attributes:
        measured: Coordinates, shape (`Geometry.coordinates`, n), mm; NaN without a hit.
        errors: Their errors, as its cluster tells for each, mm; the detector's resolution without a hit.
        thickness: Of each surface where the particle met it, and of the foil last, in mean thicknesses of it; shape
            (surfaces + 1, n). A reconstruction knows them from its map of the material.
        upstream: True states at the last layer of the upstream tracker, shape (5, n).
        stations: True states at the last layer of the stations, shape (5, n).
        species: That at the end: that of the daughter after a decay in flight.
        decay_z: Where it decayed or will decay, mm.
        end_z: Where it was absorbed or lost; infinite if it came through.
    """

    measured: Floats
    errors: Floats
    thickness: Floats
    upstream: Floats
    stations: Floats
    species: Integers
    decay_z: Floats
    end_z: Floats


def transport(particles: Columns, geometry: Geometry, seed: int) -> Passage:
    """Send particles through the detector.

    Args:
        particles: Columns of a generated sample; all rows stable and charged.
        geometry: The detector.
        seed: Seed of the production.
    """
    flight = _Flight(particles, geometry, seed)
    flight.cross_foil()
    for surface in geometry.surfaces:
        flight.cross(surface)
    return Passage(
        flight.measured, flight.errors, flight.thickness, flight.upstream, flight.stations, flight.species,
        flight.decay_z, flight.end_z,
    )  # fmt: skip


class _Flight:
    """Particles under way: their states change from surface to surface."""

    def __init__(self, particles: Columns, geometry: Geometry, seed: int) -> None:
        self.geometry, self.seed = geometry, seed
        self.event, self.particle = particles["event"], particles["particle"]
        self.species = species_of(particles["pdg"])
        self.mass = MASSES[self.species]
        pz = np.maximum(particles["pz"], 1e-3)
        p = np.sqrt(particles["px"] ** 2 + particles["py"] ** 2 + particles["pz"] ** 2)
        self.state = np.stack(
            [particles["x"], particles["y"], particles["px"] / pz, particles["py"] / pz, particles["charge"] / p]
        )
        self.z = particles["z"].astype(np.float64)
        self.end_z = np.where(particles["pz"] > 0, np.inf, self.z)
        chance = self._stream("decay").uniform(self.event, self.particle, 4)
        self.decay_z = decay_place(self.species, p, self.z, material.path(self.state), chance[0])
        self._decay_chance = chance[1:]
        self._decayed = np.zeros(len(p), dtype=bool)
        self.measured = np.full((geometry.coordinates, len(p)), np.nan)
        self.errors = np.repeat(geometry.resolutions[:, None], len(p), axis=1)
        self.thickness = np.ones((len(geometry.surfaces) + 1, len(p)))
        self._wrong = geometry.search.wrong_hits * particles["multiplicity"]
        self.upstream, self.stations = np.zeros_like(self.state), np.zeros_like(self.state)
        self._last_z = 0.0

    def _stream(self, name: str) -> Stream:
        return Stream(self.seed, f"reference/{name}")

    def cross_foil(self) -> None:
        """Particles from within the foil go through it."""
        foil = self.geometry.foil
        inside = np.hypot(self.state[0], self.state[1]) < foil.radius
        rows = np.flatnonzero(inside & (self.end_z == np.inf))
        distance = cylinder_distance(self.state[:, rows], foil.radius)
        rows, distance = rows[np.isfinite(distance)], distance[np.isfinite(distance)]
        self.state[:, rows] = straight(self.state[:, rows], distance)
        self.z[rows] += distance
        self._pass_matter(rows, foil, self._stream("foil"), len(self.geometry.surfaces))

    def cross(self, surface: Surface) -> None:
        """Move everything that lives to a surface, let it interact and leave hits there."""
        rows = np.flatnonzero((self.end_z == np.inf) & (self.z < surface.z))
        self._decay(rows[(self.decay_z[rows] < surface.z) & ~self._decayed[rows]])
        rows = rows[self.end_z[rows] == np.inf]
        self._move(rows, surface.z)
        lost = np.abs(self.state[2:4, rows]).max(axis=0) > self.geometry.search.largest_slope
        self.end_z[rows[lost]] = surface.z
        rows = rows[~lost]
        hit = rows[surface.crossed(self.state[0, rows], self.state[1, rows])]
        stream = self._stream(surface.name)
        if surface.coordinates:
            self._measure(hit, surface, stream)
        self._pass_matter(hit, surface.detector, stream, surface.number)
        self._last_z = surface.z

    def _decay(self, rows: Integers) -> None:
        """Decay in flight, at the last surface before the place of the decay."""
        daughter, self.state[:, rows] = decay(self.species[rows], self.state[:, rows], self._decay_chance[:, rows])
        self._decayed[rows] = True
        self.end_z[rows[daughter < 0]] = self.decay_z[rows[daughter < 0]]
        self.species[rows] = np.where(daughter < 0, self.species[rows], daughter)
        self.mass[rows] = MASSES[self.species[rows]]

    def _move(self, rows: Integers, z: float) -> None:
        distance = z - self.z[rows]
        bends = (self.z[rows] == self._last_z) & (self._last_z >= FIELD_START)
        turned, others = rows[bends], rows[~bends]
        self.state[:, turned] = bend(self.state[:, turned], self._last_z, z, self.geometry.field)
        self.state[:, others] = straight(self.state[:, others], distance[~bends])
        self.z[rows] = z

    def _measure(self, rows: Integers, surface: Surface, stream: Stream) -> None:
        detector, search = surface.detector, self.geometry.search
        chance = stream.uniform(self.event[rows], self.particle[rows], 5)
        rows, chance = rows[chance[0] < detector.efficiency], chance[:, chance[0] < detector.efficiency]
        smear = Stream(self.seed, f"{stream.step}/hit").normal(self.event[rows], self.particle[rows], 4)
        for number, (cosine, sine) in enumerate(surface.coordinates):
            true = cosine * self.state[0, rows] + sine * self.state[1, rows]
            # Normalised so that the root mean square of all errors is the resolution.
            error = detector.resolution * np.exp(detector.spread * smear[2 + number] - detector.spread**2)
            wrong = search.wrong_window * (2 * chance[1 + 2 * number] - 1)
            shift = np.where(chance[2 + 2 * number] < self._wrong[rows], wrong, smear[number])
            self.errors[surface.first + number, rows] = error
            self.measured[surface.first + number, rows] = true + error * shift
        if surface.detector.kind == "upstream":
            self.upstream[:, rows] = straight(self.state[:, rows], self._end("upstream") - surface.z)
        elif surface.detector.kind == "stations":
            self.stations[:, rows] = straight(self.state[:, rows], self._end("stations") - surface.z)

    def _end(self, kind: str) -> float:
        return max(surface.z for surface in self.geometry.surfaces if surface.detector.kind == kind)

    def _pass_matter(self, rows: Integers, matter: Detector | Foil, stream: Stream, number: int) -> None:
        """Absorb, slow down and scatter."""
        event, particle, radiation = self.event[rows], self.particle[rows], matter.radiation
        chance = Stream(self.seed, f"{stream.step}/matter").uniform(event, particle, 2)
        normals = Stream(self.seed, f"{stream.step}/scatter").normal(event, particle, 4)
        state, species, mass = self.state[:, rows], self.species[rows], self.mass[rows]
        self.thickness[number, rows] = np.exp(matter.texture * normals[3] - matter.texture**2 / 2)
        length = material.path(state) * self.thickness[number, rows]
        absorbed = chance[0] > np.exp(-matter.interaction * length * _HADRONIC[species])
        self.end_z[rows[absorbed]] = self.z[rows[absorbed]]
        p = material.momentum(state)
        angle = material.scattering_angle(p, mass, radiation * length)
        material.scatter(state, angle, normals[:2])
        p = material.lose_energy(p, mass, radiation * length, normals[2])
        light = species == ELECTRON
        p[light] = material.radiate(p[light], radiation * length[light], chance[1, light])
        state[4] = np.sign(state[4]) / np.maximum(p, 1.0)
        self.state[:, rows] = state
