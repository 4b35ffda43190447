"""The generator: proton-proton collisions with Pythia 8 and one forced B+ -> J/psi(mu+ mu-) K+ in each event.

Each event has a random number sequence of its own, keyed on seed and event number, so that an event is the same in
whatever chunk it is made. Pythia's random numbers come in 900 million disjoint sequences: consecutive events use
consecutive ones, from a place that the seed chooses.

Equal beams make a collision and its mirror image along the beam equally likely. Events are turned so that the signal
goes forward, to the spectrometer: twice as many of them can be reconstructed, and none is unphysical.

Pythia knows no polarisation of the J/psi; `flashlink.flashsim.polarisation` gives the signal's muons their directions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pythia8mc

from flashlink import __version__
from flashlink.errors import InternalError, wrong
from flashlink.flashsim.files import Columns
from flashlink.flashsim.polarisation import longitudinal_decays
from flashlink.flashsim.random import Stream
from flashlink.flashsim.samples import GENERATED

B_PLUS, J_PSI, MUON, K_PLUS = 521, 443, 13, 321

#: Pythia settings. The B+ is left undecayed at first, so that events without one are told early and cheaply.
SETTINGS = (
    "Beams:eCM = 13000.",
    "HardQCD:hardbbbar = on",
    f"{B_PLUS}:mayDecay = off",
)

#: Decay settings that change while an event is made: the B+ has the signal channel alone until the others' turn comes.
SIGNAL_DECAY = (f"{B_PLUS}:onMode = off", f"{B_PLUS}:onIfMatch = {J_PSI} {K_PLUS}")
PSI_TO_MUONS = (f"{J_PSI}:onMode = off", f"{J_PSI}:onIfMatch = {MUON} -{MUON}")
PSI_FREELY = (f"{J_PSI}:onMode = on",)

#: Standard deviations of the beam spot in x, y, z, mm: as at LHCb in Run 2.
BEAM_SPOT = (0.03, 0.03, 40.0)

#: What the spectrometer can see: pseudorapidity, least momentum in MeV, last production vertex along the beam in mm.
ETA_RANGE = (1.4, 6.0)
LEAST_MOMENTUM = 1000.0
LAST_ORIGIN = 2500.0

_SEQUENCES = 900_000_000
_GEV = 1000.0
_LEAST_PZ = LEAST_MOMENTUM / _GEV * np.tanh(ETA_RANGE[0])

#: Charged particles that live long enough.
_CHARGED = frozenset({11, MUON, 211, K_PLUS, 2212})

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
        "polarisation": "J/psi of the signal longitudinal",
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
        self._b_plus = self.pythia.particleData.findParticle(B_PLUS)
        self._b_channels = [self._b_plus.channel(index) for index in range(self._b_plus.sizeChannels())]
        # some channels are for the particle or the antiparticle alone, so "all on" would not be as before
        self._b_modes = [channel.onMode() for channel in self._b_channels]
        self._set(SIGNAL_DECAY)

    def _set(self, settings: Sequence[str]) -> None:
        for setting in settings:
            if not self.pythia.particleData.readString(setting):
                raise InternalError(f"Pythia does not know the decay setting {setting!r}")

    def collisions(self, numbers: npt.NDArray[np.int64]) -> Iterator[list[_Row]]:
        """The particles of each event: the signal chain (B, J/psi, K, mu, mu), then the others in Pythia's order."""
        choices = Stream(self._seed, "generate/signal").uniform(numbers, 0, 1)[0]
        for number, choice in zip(numbers.tolist(), choices.tolist(), strict=True):
            self.pythia.rndm.init(1 + (self._base + number) % _SEQUENCES)
            rows: list[_Row] = []
            while not rows:
                self.tried += 1
                rows = self._collide(choice)
            yield rows

    def _collide(self, choice: float) -> list[_Row]:
        """One collision; no particles if Pythia fails or there is no B+ or B-, of which `choice` takes one."""
        if not self.pythia.next():
            return []
        event = self.pythia.event
        # Asking Pythia for a particle costs more than anything else here, so each is asked for once.
        particles = event.particles()
        numbers = [particle.idAbs() for particle in particles]
        if B_PLUS not in numbers:
            return []
        mesons = [index for index, number in enumerate(numbers) if number == B_PLUS]
        meson = mesons[int(choice * len(mesons))]
        side = 1 if particles[meson].pz() > 0 else -1
        charged = (particle for particle, number in zip(particles, numbers, strict=True) if number in _CHARGED)
        others = _rows(charged, side)
        chain = self._decay(meson, alone=len(mesons) == 1)
        if not chain:
            return []
        added = [event[index] for index in range(len(particles), event.size()) if index not in chain]
        signal = [_row(event[index], side) for index in chain]
        return signal + others + _rows((particle for particle in added if particle.idAbs() in _CHARGED), side)

    def _decay(self, meson: int, *, alone: bool) -> list[int]:
        """Decay one B as signal and the others freely; returns the places of the signal chain, none if Pythia fails."""
        event = self.pythia.event
        self._b_plus.setMayDecay(True)
        try:
            self.pythia.moreDecays(meson)
            psi, kaon = _daughters(event, meson, J_PSI)
            self._set(PSI_TO_MUONS)
            self.pythia.moreDecays(psi)
            self._set(PSI_FREELY)
            chain = [meson, psi, kaon, *_daughters(event, psi, -MUON)]
            return chain if alone or self._decay_others() else []
        finally:
            self._b_plus.setMayDecay(False)

    def _decay_others(self) -> bool:
        """Decay the B+ and B- that are not signal."""
        for channel, mode in zip(self._b_channels, self._b_modes, strict=True):
            channel.onMode(mode)
        decayed: bool = self.pythia.moreDecays()
        self._set(SIGNAL_DECAY)
        return decayed


def _rows(particles: Iterable[Any], side: int) -> list[_Row]:
    """Those of the particles that are final and go to `side`, 1 or -1 along the beam, fast enough to be seen."""
    return [_row(particle, side) for particle in particles if side * particle.pz() > _LEAST_PZ and particle.isFinal()]


def _daughters(event: Any, mother: int, first: int) -> tuple[int, int]:
    """The two daughters, the one with PDG number `first` in front."""
    one, two = event[mother].daughter1(), event[mother].daughter2()
    return (one, two) if event[one].id() == first else (two, one)


def _row(particle: Any, side: int) -> _Row:
    return (
        particle.id(), particle.charge(), particle.px(), particle.py(), side * particle.pz(), particle.e(),
        particle.xProd(), particle.yProd(), side * particle.zProd(),
    )  # fmt: skip


def _table(
    rows: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64], seed: int
) -> Columns:
    """The columns of the sample from copied rows, of which each event has `sizes`: chain first."""
    columns: Columns = dict(zip(_COPIED, rows.T.copy(), strict=True))
    for name in ("px", "py", "pz", "energy"):
        columns[name] *= _GEV
    _polarise(columns, np.cumsum(sizes) - sizes, numbers, seed)
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


def _polarise(columns: Columns, first: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64], seed: int) -> None:
    """Give the muons of each signal chain, from row `first` on, the directions that the J/psi's spin asks for."""
    names = ("energy", "px", "py", "pz")
    b, psi = (np.stack([columns[name][first + place] for name in names], axis=1) for place in (0, 1))
    for place, muons in zip((3, 4), longitudinal_decays(b, psi, numbers, seed), strict=True):
        for name, values in zip(names, muons.T, strict=True):
            columns[name][first + place] = values


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
