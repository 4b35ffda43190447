"""Events of any generator, from HepMC2 and HepMC3 files, also compressed, as a generated sample.

A HepMC event may hold several collisions. Each becomes an event of the sample, since each has a primary vertex of its
own; the multiplicity is that of the whole HepMC event, since all its particles cross the detector together.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyhepmc

from flashlink.errors import RequestError, wrong
from flashlink.flashsim.acceptance import CHARGED, PHOTON, kept
from flashlink.flashsim.files import Columns
from flashlink.flashsim.flights import LIFETIMES, Flights
from flashlink.flashsim.limits import check
from flashlink.flashsim.samples import GENERATED
from flashlink.flashsim.units import Lengths

#: Particles that are read before a piece of a sample is made of them.
ROWS = 100_000

#: Status codes of particles that are left over: 1 by the standard, 999 where EvtGen wrote the record (LHCb's Gauss).
FINAL = (1, 999)

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_HEAD = re.compile(rb"\s*HepMC::Version")
_END = re.compile(rb"HepMC::[A-Za-z0-9_]+-END_EVENT_LISTING\s*$")
_SEEN = (*CHARGED, PHOTON)
#: Event numbers end here, as those of copies begin.
_LAST = 1 << 40
_LIVING = list(LIFETIMES)
_COLUMNS = ("event", "occupancy", "pdg", "charge", "px", "py", "pz", "energy", "x", "y", "z", "pv_x", "pv_y", "pv_z",
            "mother", "stable", "signal")  # fmt: skip

_Row = tuple[float, ...]


def read_hepmc(path: Path, signal: int = 0, first_event: int = 0, rows: int = ROWS) -> Iterator[Columns]:
    """Read the events of a file piece by piece; memory holds one piece.

    Args:
        path: HepMC2 or HepMC3, ASCII; ``.gz``, ``.bz2`` and ``.xz`` are decompressed.
        signal: PDG number of a particle (or its antiparticle) whose decay chain is kept whole, the first one in each
            event that has it; 0 for none.
        first_event: Number of the first collision; the others follow.
        rows: Particles in a piece, about: it ends with an event.

    Yields:
        The columns of a generated sample, of whole events.

    Raises:
        RequestError: The file cannot be read, is cut short, or has an event that cannot be read.
    """
    if not 0 <= first_event < _LAST:
        raise wrong("first event", first_event, f"from 0 to {_LAST - 1}")
    expected = _count(path)
    lengths = Lengths(str(path))
    table: list[_Row] = []
    lives: list[_Row] = []
    number = first_event
    read = 0
    with pyhepmc.open(str(path)) as file:
        for event in file:
            read += 1
            event.set_units(pyhepmc.Units.MomentumUnit.MEV, pyhepmc.Units.LengthUnit.MM)
            lives += _lives(event, read)
            collisions = list(_collisions(event, signal))
            for collision in collisions:
                table += [(number, read, *row) for row in collision]
                number += 1
            if len(table) >= rows:
                yield _columns(path, table, lives, lengths)
                table, lives = [], []
    if read < expected:
        raise RequestError(f"{path}: event {read + 1} of {expected} cannot be read; the file is damaged, get it again")
    yield _columns(path, table, lives, lengths)
    lengths.end()


def _columns(path: Path, rows: list[_Row], lives: list[_Row], lengths: Lengths) -> Columns:
    table = np.array(rows, dtype=np.float64).reshape(-1, len(_COLUMNS))
    columns: Columns = dict(zip(_COLUMNS, table.T.copy(), strict=True))
    # Before a number that is none is taken for a particle out of sight; the reader knows the events of the file.
    check(str(path), columns, event="occupancy")
    event, pdg, *rest = np.array(lives, dtype=np.float64).reshape(-1, 11).T
    lengths.decays(Flights.of(event, pdg, *(np.stack(rest[start : start + 3], axis=1) for start in (0, 3, 6))))
    lengths.collisions({"event": columns["occupancy"], "pv_z": columns["pv_z"]})
    columns |= {name: columns[name] != 0 for name in ("stable", "signal")}
    columns = kept(columns, columns.pop("occupancy").astype(np.int64))
    return {name: columns[name].astype(dtype) for name, dtype in GENERATED.items()}


def is_hepmc(path: Path) -> bool:
    """Whether a file looks like one of HepMC, by its first line.

    Raises:
        RequestError: The file cannot be read.
    """
    try:
        with _opened(path) as file:
            return _HEAD.match(file.read(200)) is not None
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise RequestError(f"{path}: cannot be decompressed ({error}); get the file again") from error


def _opened(path: Path) -> Any:
    try:
        return _OPENERS.get(path.suffix, open)(path, "rb")
    except OSError as error:
        raise wrong(str(path), error.strerror, "a readable HepMC file") from error


def _count(path: Path) -> int:
    """How many events a file says it has.

    HepMC's own reader takes a file that is cut short for one that ends there.
    """
    events, last = 0, b""
    try:
        with _opened(path) as file:
            for line in file:
                events += line.startswith(b"E ")
                last = line if line.strip() else last
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise RequestError(f"{path}: cannot be decompressed ({error}); get the file again") from error
    if not _END.match(last):
        raise wrong(f"{path}: last line", last.decode(errors="replace").strip(), "HepMC's end of the event listing",
                    "the file is cut short or is none of HepMC")  # fmt: skip
    if not events:
        raise RequestError(f"{path}: no event; give a file with at least one")
    return events


def _collisions(event: Any, signal: int) -> Iterator[list[_Row]]:
    """The rows of each collision, without numbers; the signal chain first."""
    chain = _chain(event, signal)
    members = {particle.id for particle, _ in chain}
    collisions: dict[_Row, list[_Row]] = {}
    if chain:
        place = _collision(chain[0][0])
        collisions[place] = [_row(particle, place, mother, signal=True) for particle, mother in chain]
    for particle in event.particles:
        if _is_final(particle) and abs(particle.pid) in _SEEN and particle.id not in members:
            place = _collision(particle)
            collisions.setdefault(place, []).append(_row(particle, place, -1, signal=False))
    yield from collisions.values()


def _is_final(particle: Any) -> bool:
    return particle.status in FINAL and particle.end_vertex is None


def _collision(particle: Any) -> _Row:
    """Where the collision was that a particle comes from: at the first vertex of its ancestry."""
    vertex = particle.production_vertex
    while True:
        mothers = [mother for mother in vertex.particles_in if mother.production_vertex is not None]
        above = [mother.production_vertex for mother in mothers if mother.production_vertex.particles_in]
        if not above:
            return vertex.position.x, vertex.position.y, vertex.position.z
        vertex = above[0]


def _chain(event: Any, signal: int) -> list[tuple[Any, int]]:
    """The signal and all its descendants, each with the place of its mother in the list."""
    for particle in event.particles if signal else ():
        if abs(particle.pid) == signal and _decays(particle):
            chain = [(particle, -1)]
            for place, (member, _) in enumerate(chain):
                chain += [(child, place) for child in (member.end_vertex.particles_out if member.end_vertex else ())]
            return chain
    return []


def _lives(event: Any, number: int) -> Iterator[_Row]:
    """All decays of the record whose lengths the lifetime tells, also of what no sample keeps."""
    species = np.flatnonzero(np.isin(np.abs(event.numpy.particles.pid), _LIVING))
    particles = event.particles if len(species) else ()
    for row in species.tolist():
        particle = particles[row]
        if _decays(particle):
            p, start, end = particle.momentum, particle.production_vertex.position, particle.end_vertex.position
            yield number, particle.pid, p.px, p.py, p.pz, start.x, start.y, start.z, end.x, end.y, end.z


def _decays(particle: Any) -> bool:
    """Whether it decays, and not only goes on as a copy of itself or oscillates."""
    end = particle.end_vertex
    if end is None or particle.production_vertex is None:
        return False
    return not any(abs(child.pid) == abs(particle.pid) for child in end.particles_out)


def _row(particle: Any, collision: _Row, mother: int, *, signal: bool) -> _Row:
    momentum, place = particle.momentum, particle.production_vertex.position
    return (
        particle.pid, _charge(particle.pid), momentum.px, momentum.py, momentum.pz, momentum.e,
        place.x, place.y, place.z, *collision, mother, _is_final(particle), signal,
    )  # fmt: skip


@cache
def _charge(pdg: int) -> float:
    from particle import PDGID

    return float(PDGID(pdg).charge or 0)
