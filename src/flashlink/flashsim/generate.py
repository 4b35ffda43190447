"""The generator: proton-proton collisions with Pythia 8 and one forced B+ -> J/psi(mu+ mu-) K+ in each event.

Each event has a random number sequence of its own, keyed on seed and event number, so that an event is the same in
whatever chunk it is made. Pythia's random numbers come in 900 million disjoint sequences: consecutive events use
consecutive ones, from a place that the seed chooses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pythia8mc

from flashlink import __version__
from flashlink.errors import InternalError, wrong
from flashlink.flashsim.files import Columns
from flashlink.flashsim.random import Stream
from flashlink.flashsim.samples import GENERATED

B_PLUS, J_PSI, MUON, K_PLUS = 521, 443, 13, 321

#: Pythia settings. The B+ is left undecayed at first, so that events without one are told early and cheaply.
SETTINGS = (
    "Beams:eCM = 13000.",
    "HardQCD:hardbbbar = on",
    f"{B_PLUS}:mayDecay = off",
)

#: Standard deviations of the beam spot in x, y, z, mm: as at LHCb in Run 2.
BEAM_SPOT = (0.03, 0.03, 40.0)

#: What the spectrometer can see: pseudorapidity, least momentum in MeV, last production vertex along the beam in mm.
ETA_RANGE = (1.4, 6.0)
LEAST_MOMENTUM = 1000.0
LAST_ORIGIN = 2500.0

_SEQUENCES = 900_000_000
_GEV = 1000.0

#: What is copied of a particle, in this order.
_COPIED = ("pdg", "charge", "px", "py", "pz", "energy", "x", "y", "z")

_Row = tuple[float, ...]


@dataclass(frozen=True)
class Generated:
    """A generated sample.

    Attributes:
        columns: The table, by `flashlink.flashsim.samples.GENERATED`.
        metadata: What made it.
        tried: Collisions that were generated to find enough with a B+ or B-.
    """

    columns: Columns
    metadata: dict[str, Any]
    tried: int


def generate(events: int, first_event: int, seed: int) -> Generated:
    """Generate collisions that contain the signal decay.

    Args:
        events: How many.
        first_event: Number of the first; the others follow.
        seed: Seed of the production.

    Raises:
        RequestError: A number is out of range.
    """
    if events < 1:
        raise wrong("events", events, "a positive number")
    if not 0 <= first_event <= first_event + events <= _SEQUENCES:
        raise wrong("first event", first_event, f"from 0 to {_SEQUENCES - events}: event numbers end at {_SEQUENCES}")
    numbers = np.arange(first_event, first_event + events)
    source = Source(seed)
    rows: list[_Row] = []
    sizes: list[int] = []
    for particles in source.collisions(numbers):
        rows += particles
        sizes.append(len(particles))
    columns = _table(np.array(rows), np.array(sizes), numbers, seed)
    metadata = {
        "kind": "generated",
        "seed": seed,
        "first_event": first_event,
        "events": events,
        "settings": list(SETTINGS),
        "beam_spot_mm": list(BEAM_SPOT),
        "versions": {"flashlink": __version__, "pythia": f"{source.pythia.parm('Pythia:versionNumber'):.3f}"},
    }
    return Generated(columns, metadata, source.tried)


class Source:
    """Pythia, set up once; prints nothing.

    Args:
        seed: Seed of the production.

    Attributes:
        pythia: The generator.
        tried: Collisions generated so far.
    """

    def __init__(self, seed: int) -> None:
        self.pythia = pythia8mc.Pythia("", False)
        self.tried = 0
        self._seed = seed
        self._base = int.from_bytes(hashlib.blake2b(f"pythia\0{seed}".encode(), digest_size=8).digest(), "little")
        for setting in ("Print:quiet = on", "Random:setSeed = on", "Random:seed = 1", *SETTINGS):
            if not self.pythia.readString(setting):
                raise InternalError(f"Pythia does not know the setting {setting!r}")
        if not self.pythia.init():
            raise InternalError("Pythia cannot be initialised with the settings of flashlink")
        data = self.pythia.particleData
        self._b_plus = data.findParticle(B_PLUS)
        self._b_decay = ForcedDecay(self._b_plus, {J_PSI, K_PLUS})
        self._psi_decay = ForcedDecay(data.findParticle(J_PSI), {MUON, -MUON})

    def collisions(self, numbers: npt.NDArray[np.int64]) -> Iterator[list[_Row]]:
        """The particles of each event: the signal chain (B, J/psi, K, mu, mu), then the others in Pythia's order."""
        choices = Stream(self._seed, "generate/signal").uniform(numbers, 0, 1)[0]
        for number, choice in zip(numbers.tolist(), choices.tolist(), strict=True):
            self.pythia.rndm.init(1 + (self._base + number) % _SEQUENCES)
            chain: list[int] = []
            while not chain:
                self.tried += 1
                mesons = self._next()
                if mesons:
                    chain = self._decay(mesons[int(choice * len(mesons))])
            yield self._copy(chain)

    def _next(self) -> list[int]:
        """Generate a collision; returns the places of its B+ and B- in the event record."""
        if not self.pythia.next():
            return []
        numbers = [particle.idAbs() for particle in self.pythia.event]
        return [index for index, number in enumerate(numbers) if number == B_PLUS] if B_PLUS in numbers else []

    def _decay(self, meson: int) -> list[int]:
        """Decay one B as signal and the others freely; returns the places of the signal chain, none if Pythia fails."""
        event = self.pythia.event
        self._b_plus.setMayDecay(True)
        try:
            with self._b_decay:
                self.pythia.moreDecays(meson)
            psi, kaon = _daughters(event, meson, J_PSI)
            with self._psi_decay:
                self.pythia.moreDecays(psi)
            chain = [meson, psi, kaon, *_daughters(event, psi, -MUON)]
            return chain if self.pythia.moreDecays() else []
        finally:
            self._b_plus.setMayDecay(False)

    def _copy(self, chain: list[int]) -> list[_Row]:
        event = self.pythia.event
        signal = [_row(event[index]) for index in chain]
        stable = {event[index].index() for index in chain}
        least = LEAST_MOMENTUM / _GEV * np.tanh(ETA_RANGE[0])
        return signal + [
            _row(particle)
            for particle in event
            if particle.isFinal() and particle.pz() > least and particle.isCharged() and particle.index() not in stable
        ]


class ForcedDecay:
    """One decay channel of a particle, alone while the ``with`` block lasts.

    Args:
        entry: Pythia's data of the particle.
        products: PDG numbers of the products, all different.
    """

    def __init__(self, entry: Any, products: set[int]) -> None:
        self._entry = entry
        self._modes = [entry.channel(index).onMode() for index in range(entry.sizeChannels())]
        self._wanted = [
            {entry.channel(index).product(place) for place in range(entry.channel(index).multiplicity())} == products
            for index in range(entry.sizeChannels())
        ]
        if sum(self._wanted) != 1:
            raise InternalError(f"Pythia's decay table of {entry.name()} has no single channel to {sorted(products)}")

    def __enter__(self) -> None:
        for index, wanted in enumerate(self._wanted):
            self._entry.channel(index).onMode(int(wanted))

    def __exit__(self, *_: object) -> None:
        for index, mode in enumerate(self._modes):
            self._entry.channel(index).onMode(mode)


def _daughters(event: Any, mother: int, first: int) -> tuple[int, int]:
    """The two daughters, the one with PDG number `first` in front."""
    one, two = event[mother].daughter1(), event[mother].daughter2()
    return (one, two) if event[one].id() == first else (two, one)


def _row(particle: Any) -> _Row:
    return (
        particle.id(), particle.charge(), particle.px(), particle.py(), particle.pz(), particle.e(),
        particle.xProd(), particle.yProd(), particle.zProd(),
    )  # fmt: skip


def _table(
    rows: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64], seed: int
) -> Columns:
    """The columns of the sample from copied rows, of which each event has `sizes`: chain first."""
    columns: Columns = dict(zip(_COPIED, rows.T.copy(), strict=True))
    for name in ("px", "py", "pz", "energy"):
        columns[name] *= _GEV
    columns["event"] = np.repeat(numbers, sizes)
    columns["particle"] = _place(sizes)
    columns["signal"] = columns["particle"] < 5
    kept = columns["signal"] | _visible(columns)
    columns = {name: values[kept] for name, values in columns.items()}
    _, event, sizes = np.unique(columns["event"], return_inverse=True, return_counts=True)
    columns["particle"] = _place(sizes)
    columns["stable"] = ~columns["signal"] | (columns["particle"] >= 2)
    # B, J/psi, K, mu, mu
    mothers = np.array([-1, 0, 0, 1, 1])
    columns["mother"] = np.where(columns["signal"], mothers[np.minimum(columns["particle"], 4)], -1)
    columns["multiplicity"] = np.bincount(event, weights=columns["stable"])[event]
    spot = np.array(BEAM_SPOT)[:, None] * Stream(seed, "generate/beamspot").normal(numbers, 0, 3)
    for axis, place in zip("xyz", spot, strict=True):
        columns[f"pv_{axis}"] = place[event]
        columns[axis] = columns[axis] + place[event]
    return {name: columns[name].astype(dtype) for name, dtype in GENERATED.items()}


def _place(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0, 1, … in each group of the given sizes."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _visible(columns: Columns) -> npt.NDArray[np.bool_]:
    transverse = np.hypot(columns["px"], columns["py"])
    eta = np.arcsinh(columns["pz"] / transverse)
    return (
        (eta > ETA_RANGE[0])
        & (eta < ETA_RANGE[1])
        & (np.hypot(transverse, columns["pz"]) > LEAST_MOMENTUM)
        & (columns["z"] < LAST_ORIGIN)
    )
