"""The generator: proton-proton collisions with Pythia 8, by default with one forced B+ -> J/psi(mu+ mu-) K+ in each.

Events come in blocks, each with a random number sequence of its own, keyed on seed and block, so that an event is the
same in whatever chunk it is made. Pythia's random numbers come in 900 million disjoint sequences: consecutive blocks
use consecutive ones, from a place that the seed chooses.

Equal beams make a collision and its mirror image along the beam equally likely. Events with a signal are turned so that
it goes forward, to the spectrometer: twice as many of them can be reconstructed, and none is unphysical.

Pythia knows no polarisation of the J/psi; `flashlink.flashsim.polarisation` gives its muons their directions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from flashlink import __version__
from flashlink.errors import wrong
from flashlink.flashsim.acceptance import CHARGED, ETA_RANGE, LEAST_MOMENTUM, LEPTONS, PHOTON, kept, places
from flashlink.flashsim.files import Columns
from flashlink.flashsim.polarisation import longitudinal_decays
from flashlink.flashsim.pythia import B_TO_JPSI_K, Collisions, Decays, Generator, Process
from flashlink.flashsim.random import Stream
from flashlink.flashsim.samples import GENERATED

B_PLUS, J_PSI, MUON, K_PLUS = 521, 443, 13, 321

#: Standard deviations of the beam spot in x, y, z, mm: as at LHCb in Run 2.
BEAM_SPOT = (0.03, 0.03, 40.0)

#: Events that share a sequence of random numbers, and collisions that Pythia makes at once.
BLOCK, BATCH = 125, 50

#: Particles of a piece of a sample, about.
ROWS = 100_000

_SEQUENCES = 900_000_000
_GEV = 1000.0
_LEAST_PZ = LEAST_MOMENTUM / _GEV * np.tanh(ETA_RANGE[0])


class Production:
    """Generated events, of which memory holds a piece at a time.

    Args:
        events: How many that have the signal of the process.
        first_event: Number of the first; the others follow.
        seed: Seed of the production.
        process: What to generate.

    Attributes:
        metadata: What makes them.

    Raises:
        RequestError: A number is out of range, or Pythia does not know a line of the process.
    """

    def __init__(self, events: int, first_event: int, seed: int, process: Process = B_TO_JPSI_K) -> None:
        if events < 1:
            raise wrong("events", events, "a positive number")
        if not 0 <= first_event <= first_event + events <= _SEQUENCES:
            expected = f"from 0 to {_SEQUENCES - events}: event numbers end at {_SEQUENCES}"
            raise wrong("first event", first_event, expected)
        self._source = Source(seed, process)
        self._first_event, self._events, self._seed = first_event, events, seed
        self.metadata: dict[str, Any] = {
            "kind": "generated",
            "seed": seed,
            "first_event": first_event,
            "events": events,
            "settings": list(process.settings),
            "signal": process.signal,
            "decay": list(process.decay),
            "beam_spot_mm": list(BEAM_SPOT),
            "polarisation": "J/psi from the signal longitudinal",
            "versions": {"flashlink": __version__, "pythia": self._source.generator.version},
        }

    @property
    def tried(self) -> int:
        """Collisions that were generated so far, to find enough with a signal."""
        return self._source.tried

    def parts(self, rows: int = ROWS) -> Iterator[Columns]:
        """The columns of `flashlink.flashsim.samples.GENERATED`, in pieces of whole events and about `rows` rows."""
        waiting: list[Columns] = []
        for part in self._source.particles(self._first_event, self._events):
            waiting.append(part)
            if sum(len(columns["event"]) for columns in waiting) >= rows:
                yield self._table(waiting)
                waiting = []
        if waiting:
            yield self._table(waiting)

    def _table(self, parts: Sequence[Columns]) -> Columns:
        return _table({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, self._seed)


@dataclass(frozen=True)
class Generated:
    """A generated sample in memory.

    Attributes:
        columns: The table, by `flashlink.flashsim.samples.GENERATED`.
        metadata: What made it.
        tried: Collisions that were generated to find enough with a signal.
    """

    columns: Columns
    metadata: dict[str, Any]
    tried: int


def generate(events: int, first_event: int, seed: int, process: Process = B_TO_JPSI_K) -> Generated:
    """All events of a `Production` at once; its arguments and errors are those."""
    production = Production(events, first_event, seed, process)
    parts = list(production.parts())
    columns = {name: np.concatenate([part[name] for part in parts]) for name in GENERATED}
    return Generated(columns, production.metadata, production.tried)


class Source:
    """Pythia, and the particles of its events.

    Args:
        seed: Seed of the production.
        process: What to make.

    Attributes:
        generator: Pythia.
        tried: Collisions generated so far.
    """

    def __init__(self, seed: int, process: Process = B_TO_JPSI_K) -> None:
        self.generator = Generator(process)
        self.tried = 0
        self._seed, self._signal = seed, process.signal
        self._base = int.from_bytes(hashlib.blake2b(f"pythia\0{seed}".encode(), digest_size=8).digest(), "little")

    def particles(self, first_event: int, events: int) -> Iterator[Columns]:
        """The visible particles of consecutive events, batch by batch, and the whole chain of each signal before them.

        The momenta are in GeV, places count from the collision, ``mother`` counts within the chain.
        """
        last = first_event + events
        for block in range(first_event // BLOCK, (last - 1) // BLOCK + 1):
            self.generator.begin(1 + (self._base + block) % _SEQUENCES)
            for columns in self._block(block * BLOCK, (block + 1) * BLOCK, last):
                inside = (columns["event"] >= first_event) & (columns["event"] < last)
                yield {name: values[inside] for name, values in columns.items()}

    def _block(self, first: int, end: int, last: int) -> Iterator[Columns]:
        """The particles of the events from `first` to `end`; of those from `last` on, perhaps of some."""
        batches: list[_Batch] = []
        events = tried = 0
        while first + events < min(end, last):
            # No more than are missing, since each may have a signal: none is made in vain.
            collisions, made = self.generator.collide(min(BATCH, end - first - events), tried)
            found = np.arange(tried, tried + made) if not self._signal else None
            batches.append(self._batch(collisions, first + events, found))
            events, tried = events + len(batches[-1].found), tried + made
        self.tried += tried
        columns = _columns(batches, tried)
        ends = np.searchsorted(columns["event"], np.cumsum([0, *(len(batch.found) for batch in batches)]))
        columns["event"] += first
        for start, stop in pairwise(ends):
            yield {name: values[start:stop] for name, values in columns.items()}

    def _batch(self, collisions: Collisions, first: int, found: npt.NDArray[np.int64] | None) -> _Batch:
        """Choose signals, and decay what Pythia did not, before its random numbers go on."""
        if found is not None:
            return _Batch(collisions, found)
        held = np.flatnonzero(np.abs(collisions.pdg) == self._signal)
        found, start, number = np.unique(collisions.event[held], return_index=True, return_counts=True)
        choice = Stream(self._seed, "generate/signal").uniform(first + np.arange(len(found)), 0, 1)[0]
        place = start + (choice * number).astype(np.int64)
        signals, others = collisions[held[place]], collisions[np.delete(held, place)]
        return _Batch(
            collisions, found, signals.momentum[:, 2] > 0,
            [self.generator.decay_signal(signals)] if len(place) else [],
            [self.generator.decay_freely(others)] if len(others.pdg) else [],
        )  # fmt: skip


@dataclass(frozen=True)
class _Batch:
    """Collisions, and what is made of them while Pythia's random numbers are where they ended.

    Attributes:
        collisions: What they left over; particles like the signals are among them, not decayed.
        found: Those that count as events.
        forward: For each of these, whether its signal goes forward.
        chains: The decays of the signals, if any.
        others: The decays of other particles like them, if any.
    """

    collisions: Collisions
    found: npt.NDArray[np.int64]
    forward: npt.NDArray[np.bool_] | None = None
    chains: Sequence[Decays] = ()
    others: Sequence[Decays] = ()


def _columns(batches: Sequence[_Batch], tried: int) -> Columns:
    """The particles of the events of batches: chains, the record's, then what came of other particles like the signal.

    All at once, since numpy takes hardly longer for many than for the few particles of one batch.
    """
    found = np.concatenate([batch.found for batch in batches])
    # Where a signal goes; 0 for collisions that are no events.
    side = np.zeros(tried)
    for batch in batches:
        side[batch.found] = 1 if batch.forward is None else np.where(batch.forward, 1, -1)
    parts = [_of_record(Collisions.joined([batch.collisions for batch in batches]), side)]
    if chains := [decays for batch in batches for decays in batch.chains]:
        parts.insert(0, _of_decays(Decays.joined(chains)))
    if others := [decays for batch in batches for decays in batch.others]:
        parts.append(_others(_of_decays(Decays.joined(others)), side))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    turn = side[columns["event"]]
    columns["pz"], columns["z"] = turn * columns["pz"], turn * columns["z"]
    columns["event"] = np.searchsorted(found, columns["event"])
    order = np.argsort(columns["event"], kind="stable")
    return {name: values[order] for name, values in columns.items()}


def _of_record(collisions: Collisions, side: npt.NDArray[np.float64]) -> Columns:
    """The charged particles of collisions that go to their `side`, fast enough to be seen, photons last."""
    seen = collisions[np.flatnonzero(side[collisions.event] * collisions.momentum[:, 2] > _LEAST_PZ)]
    charged, photons = np.isin(np.abs(seen.pdg), CHARGED), seen.pdg == PHOTON
    seen = seen[np.concatenate([np.flatnonzero(charged), np.flatnonzero(photons)])]
    charge = np.sign(seen.pdg) * np.where(np.isin(np.abs(seen.pdg), LEPTONS), -1, 1) * (seen.pdg != PHOTON)
    return _part(seen.event, seen.pdg, charge, seen.momentum, seen.place)


def _of_decays(decays: Decays) -> Columns:
    """The chains of particles, each with its products behind it."""
    order = np.lexsort((np.arange(len(decays.root)), decays.root))
    place = np.empty_like(order)
    place[order] = places(np.bincount(decays.root))
    mother = np.where(decays.mother >= 0, place[decays.mother], -1)
    columns = _part(decays.event, decays.pdg, decays.charge, decays.momentum, decays.place)
    columns |= {"mother": mother, "stable": decays.final, "signal": np.ones(len(order), dtype=bool)}
    return {name: values[order] for name, values in columns.items()}


def _others(chains: Columns, side: npt.NDArray[np.float64]) -> Columns:
    """Of decays that are not the signal: the charged particles and photons that go to their `side`."""
    forward = side[chains["event"]] * chains["pz"] > _LEAST_PZ
    kept = np.flatnonzero(forward & chains["stable"] & np.isin(np.abs(chains["pdg"]), (*CHARGED, PHOTON)))
    columns = {name: values[kept] for name, values in chains.items()}
    return columns | {"mother": np.full(len(kept), -1), "signal": np.zeros(len(kept), dtype=bool)}


def _part(event: Any, pdg: Any, charge: Any, momentum: Any, place: Any) -> Columns:
    columns = {"event": event, "pdg": pdg, "charge": charge}
    columns |= dict(zip(("px", "py", "pz", "energy"), momentum.T, strict=True))
    columns |= dict(zip("xyz", place.T, strict=True))
    ones = np.ones(len(event), dtype=bool)
    return columns | {"mother": np.full(len(event), -1), "stable": ones, "signal": ~ones}


def _table(columns: Columns, seed: int) -> Columns:
    """The columns of the sample, from particles in order of their events."""
    for name in ("px", "py", "pz", "energy"):
        columns[name] = columns[name] * _GEV
    _polarise(columns, seed)
    columns = kept(columns)
    numbers, event = np.unique(columns["event"], return_inverse=True)
    spot = np.array(BEAM_SPOT)[:, None] * Stream(seed, "generate/beamspot").normal(numbers, 0, 3)
    for axis, place in zip("xyz", spot, strict=True):
        columns[f"pv_{axis}"] = place[event]
        columns[axis] = columns[axis] + place[event]
    return {name: columns[name].astype(dtype) for name, dtype in GENERATED.items()}


def _polarise(columns: Columns, seed: int) -> None:
    """Give the muons of each signal B -> J/psi(mu mu) K the directions that the J/psi's spin asks for."""
    first = np.flatnonzero(columns["signal"] & (np.abs(columns["pdg"]) == B_PLUS) & (columns["mother"] < 0))
    chain = first[:, None] + np.arange(5)
    chain = chain[chain[:, 4] < len(columns["pdg"])]
    right = (columns["mother"][chain] == [-1, 0, 0, 1, 1]) & (columns["event"][chain] == columns["event"][chain[:, :1]])
    right &= np.abs(columns["pdg"][chain]) == [B_PLUS, J_PSI, K_PLUS, MUON, MUON]
    b, psi, _, minus, plus = chain[right.all(axis=1)].T
    names = ("energy", "px", "py", "pz")
    of_b, of_psi = (np.stack([columns[name][rows] for name in names], axis=1) for rows in (b, psi))
    for rows, muons in zip((plus, minus), longitudinal_decays(of_b, of_psi, columns["event"][b], seed), strict=True):
        for name, values in zip(names, muons.T, strict=True):
            columns[name][rows] = values
