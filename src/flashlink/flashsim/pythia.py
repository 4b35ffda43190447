"""Pythia 8: collisions in batches, as arrays, and decays of single particles.

Asking Pythia for one particle after the other costs Python a quarter of the time that the collision took; so whole
batches of collisions come at once, as arrays that Pythia's own library fills.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pythia8mc

from flashlink.errors import InternalError, RequestError, wrong

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Lines that every run has: nothing printed, random numbers from where `Generator.begin` says.
_ALWAYS = ("Print:quiet = on", "Random:setSeed = on", "Random:seed = 1")

#: The mode of a decay channel that is on for particle and antiparticle.
_ON = 1

#: Attempts at decays before it is given up; Pythia fails one in very many.
_ATTEMPTS = 10


@dataclass(frozen=True)
class Process:
    """What Pythia is asked for.

    Attributes:
        settings: Lines of Pythia's settings.
        signal: PDG number of a particle (or its antiparticle) that every event has to have; 0 for any event. One of
            them is decayed by `decay`, the others are left to Pythia.
        decay: Lines of Pythia's particle data that hold for the decay of that particle and of its products alone.

    Raises:
        RequestError: There are lines for a decay of none, or one that Pythia would take for a comment.
    """

    settings: tuple[str, ...]
    signal: int = 0
    decay: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in self.decay:
            if not self.signal:
                raise wrong("decay", line, "of any particle", "say of which by --signal, or force it in --settings")
            if not re.match(r"\s*\d+:", line):
                raise wrong("decay of the signal", line, "a line of particle data, such as '531:onMode = off'")


#: The main job's: one B+ -> J/psi(mu+ mu-) K+ or its charge conjugate in each event.
B_TO_JPSI_K = Process(
    settings=("Beams:eCM = 13000.", "HardQCD:hardbbbar = on"),
    signal=521,
    decay=("521:onMode = off", "521:onIfMatch = 443 321", "443:onMode = off", "443:onIfMatch = 13 -13"),
)


def read_settings(path: Path) -> tuple[str, ...]:
    """The settings of a file of Pythia's own form: one a line; lines that begin with no letter or digit are comments.

    Raises:
        RequestError: The file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(str(path), getattr(error, "strerror", "no text"), "a readable file of Pythia settings") from error
    return tuple(line.strip() for line in lines if line.strip()[:1].isalnum())


@dataclass(frozen=True)
class Collisions:
    """What is left over at the end of collisions, one after the other.

    Attributes:
        event: Number of the collision of each row.
        pdg: PDG number.
        momentum: (px, py, pz, E) in GeV, shape (rows, 4).
        tau: Proper lifetime in mm/c.
        place: Production vertex (x, y, z) in mm, shape (rows, 3).
    """

    event: Integers
    pdg: Integers
    momentum: Floats
    tau: Floats
    place: Floats

    def __getitem__(self, rows: npt.NDArray[Any]) -> Collisions:
        """Some of the rows."""
        return Collisions(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @classmethod
    def joined(cls, batches: Sequence[Collisions]) -> Collisions:
        """All rows of several batches."""
        return cls(**{field.name: _joined(batches, field.name) for field in fields(cls)})


@dataclass(frozen=True)
class Decays:
    """Particles and all that became of them, mothers before daughters.

    Attributes:
        event: Number of the collision of each.
        root: Which of the particles that were given each comes from.
        mother: Row of its mother, -1 for the particles themselves.
        pdg: PDG number.
        charge: In units of e.
        final: Whether it does not decay.
        momentum: (px, py, pz, E) in GeV, shape (rows, 4).
        place: Production vertex in mm, shape (rows, 3).
    """

    event: Integers
    root: Integers
    mother: Integers
    pdg: Integers
    charge: Floats
    final: npt.NDArray[np.bool_]
    momentum: Floats
    place: Floats

    @classmethod
    def joined(cls, batches: Sequence[Decays]) -> Decays:
        """Those of several batches, with roots and rows numbered on."""
        columns = {field.name: _joined(batches, field.name) for field in fields(cls)}
        sizes = [len(batch.mother) for batch in batches]
        roots = [np.count_nonzero(batch.mother < 0) for batch in batches]
        columns["root"] = columns["root"] + np.repeat(np.cumsum(roots) - roots, sizes)
        columns["mother"] = np.where(
            columns["mother"] < 0, -1, columns["mother"] + np.repeat(np.cumsum(sizes) - sizes, sizes)
        )
        return cls(**columns)


def _joined(batches: Sequence[Any], name: str) -> npt.NDArray[Any]:
    return np.concatenate([getattr(batch, name) for batch in batches])


class Generator:
    """Pythia, set up once; prints nothing.

    Args:
        process: What to make.

    Raises:
        RequestError: Pythia does not know a line of it, or cannot be initialised with it.
    """

    def __init__(self, process: Process) -> None:
        self._pythia = pythia8mc.Pythia("", False)
        self._signal = process.signal
        held = (f"{process.signal}:mayDecay = off",) if process.signal else ()
        for line in (*process.settings, *_ALWAYS, *held):
            if not self._pythia.readString(line, False):
                raise wrong("Pythia settings", line, "a line that Pythia knows")
        if not self._pythia.init():
            raise RequestError(f"Pythia cannot be initialised with its settings: {'; '.join(process.settings)}")
        self._decay = process.decay
        self._on, self._exceptions = self._free_modes(process.decay)
        for line in process.decay:
            self._read_decay(line)
        self._restore()

    @property
    def version(self) -> str:
        """Of Pythia."""
        return f"{self._pythia.parm('Pythia:versionNumber'):.3f}"

    def begin(self, sequence: int) -> None:
        """Go to the start of one of the 900 million disjoint sequences of random numbers; `sequence` counts from 1."""
        self._pythia.rndm.init(sequence)

    def collide(self, count: int, first: int = 0) -> tuple[Collisions, int]:
        """Make collisions, numbered from `first` on.

        Returns:
            They, and how many: Pythia fails at some, so there may be fewer than `count`.
        """
        batch = self._pythia.nextBatch(count, "skip").layout
        particles = batch.content("prt")
        ends, record = np.asarray(particles.offsets.data), particles.content
        # Two thirds of a record are not left over.
        final = ends[0] + np.flatnonzero(_array(record, "status")[ends[0] : ends[-1]] > 0)
        vertex = record.content("vProd")
        index = np.asarray(vertex.index.data)[final]
        place = np.zeros((len(final), 3))
        place[index >= 0] = _columns(vertex.content, ("px", "py", "pz"), index[index >= 0])
        found = Collisions(
            first + np.searchsorted(ends, final, side="right") - 1, _array(record, "id")[final],
            _columns(record.content("p"), ("px", "py", "pz", "e"), final), _array(record, "tau")[final], place,
        )  # fmt: skip
        return found, len(ends) - 1

    def decay_signal(self, particles: Collisions) -> Decays:
        """Decay each of the particles by the lines of `Process.decay`."""
        for line in self._decay:
            self._read_decay(line)
        try:
            return self._decays(particles)
        finally:
            self._restore()

    def decay_freely(self, particles: Collisions) -> Decays:
        """Decay each of the particles as Pythia does by itself."""
        return self._decays(particles)

    def _decays(self, particles: Collisions) -> Decays:
        may_decay = self._pythia.particleData.findParticle(self._signal)
        may_decay.setMayDecay(True)
        try:
            for _ in range(_ATTEMPTS):
                self._fill(particles)
                if self._pythia.moreDecays():
                    return _read(self._pythia.event, particles)
        finally:
            may_decay.setMayDecay(False)
        raise InternalError(f"Pythia could not decay {sorted(set(particles.pdg.tolist()))} in {_ATTEMPTS} attempts")

    def _fill(self, particles: Collisions) -> None:
        """Make an event of the particles alone."""
        event = self._pythia.event
        event.reset()
        for pdg, momentum, tau, place in zip(
            particles.pdg.tolist(), particles.momentum.tolist(), particles.tau.tolist(), particles.place.tolist(),
            strict=True,
        ):  # fmt: skip
            mass = np.sqrt(max(momentum[3] ** 2 - sum(value**2 for value in momentum[:3]), 0.0))
            event.append(pdg, 1, 0, 0, *momentum, float(mass))
            particle = event[event.size() - 1]
            particle.vProd(*place, 0.0)
            particle.tau(tau)

    def _read_decay(self, line: str) -> None:
        if not self._pythia.particleData.readString(line, False):
            raise wrong("decay of the signal", line, "a line of particle data that Pythia knows")

    def _free_modes(self, lines: Sequence[str]) -> tuple[list[str], list[tuple[Any, int]]]:
        """What brings the decays that the lines are about back to what they are: lines, and exceptions from them.

        The lines switch all channels on. Some are off, or for the particle or the antiparticle alone.
        """
        numbers = sorted({int(number) for line in lines if (number := line.partition(":")[0].strip()).isdigit()})
        found = [self._pythia.particleData.findParticle(number) for number in numbers]
        channels = [particle.channel(index) for particle in found for index in range(particle.sizeChannels())]
        exceptions = [(channel, channel.onMode()) for channel in channels if channel.onMode() != _ON]
        return [f"{number}:onMode = {_ON}" for number in numbers], exceptions

    def _restore(self) -> None:
        for line in self._on:
            self._read_decay(line)
        for channel, mode in self._exceptions:
            channel.onMode(mode)


def _array(record: Any, name: str) -> npt.NDArray[Any]:
    return np.asarray(record.content(name).data)


def _columns(record: Any, names: Sequence[str], rows: Integers) -> Floats:
    return np.stack([_array(record, name)[rows] for name in names], axis=1)


def _read(event: Any, given: Collisions) -> Decays:
    """All particles of an event to which those were given."""
    particles = event.particles()[1:]
    mother = np.array([particle.mother1() for particle in particles]) - 1
    root = np.arange(len(particles))
    for row in range(len(given.pdg), len(particles)):
        root[row] = root[mother[row]]
    # The daughters of a particle begin at one place, and asking is what takes time.
    first = np.append(True, mother[1:] != mother[:-1]) | (mother < 0)
    begin = [particles[row] for row in np.flatnonzero(first)]
    place = np.array([(particle.xProd(), particle.yProd(), particle.zProd()) for particle in begin])
    return Decays(
        given.event[root], root, mother,
        np.array([particle.id() for particle in particles]),
        np.array([particle.charge() for particle in particles]),
        np.array([particle.isFinal() for particle in particles]),
        np.array([(particle.px(), particle.py(), particle.pz(), particle.e()) for particle in particles]),
        place[np.cumsum(first) - 1],
    )  # fmt: skip
