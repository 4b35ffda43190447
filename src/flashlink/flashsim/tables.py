"""The file of the flash simulation's parameterizations: one JSON, numbers packed, checked by digest when it is read.

::

    {"digest": "sha256 of the bytes of tables", "tables": {
        "format": 3, "version": "0.1.0",
        "training": {"seeds": …, "digests": …, "events": …, "particles": …, "tracks": …},
        "grid": {"log_p": {"name": "log10(p/MeV)", "edges": […]}, …},
        "efficiency": …, "resolution": …, "identification": …, "vertex": …, "ghosts": …}}

Its arrays are those of `flashlink.flashsim.packed`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from flashlink.errors import wrong
from flashlink.flashsim.files import replacing
from flashlink.flashsim.packed import pack, unpack
from flashlink.flashsim.parameterizations.condition import Condition
from flashlink.flashsim.parameterizations.efficiency import Efficiency
from flashlink.flashsim.parameterizations.ghosts import Ghosts
from flashlink.flashsim.parameterizations.grid import Grid
from flashlink.flashsim.parameterizations.identification import Identification
from flashlink.flashsim.parameterizations.interface import Sampled
from flashlink.flashsim.parameterizations.photons import Photons
from flashlink.flashsim.parameterizations.resolution import Resolution
from flashlink.flashsim.parameterizations.vertex import Vertex
from flashlink.flashsim.random import Draws

#: Raised whenever the layout changes; other numbers are refused.
FORMAT = 3


@dataclass(frozen=True)
class Training:
    """What the tables were derived from.

    Attributes:
        generated: sha256 of each file of generated particles, in the order given.
        reference: sha256 of each file of reference tracks.
        events: Events that both have.
        particles: Simulated particles in them.
        tracks: Reconstructed tracks, ghosts included.
    """

    generated: tuple[str, ...]
    reference: tuple[str, ...]
    events: int
    particles: int
    tracks: int


@dataclass(frozen=True)
class Tables:
    """All parameterizations of the flash simulation, and where they come from.

    Attributes:
        format: `FORMAT`.
        version: Of the flashlink that wrote it.
        photons: None where the detailed sample came without photons.
    """

    format: int
    version: str
    training: Training
    grid: Grid
    efficiency: Efficiency
    resolution: Resolution
    identification: Identification
    vertex: Vertex
    ghosts: Ghosts
    photons: Photons | None = None

    @property
    def trained_on(self) -> tuple[str, ...]:
        """sha256 of each file of generated particles that they were derived from."""
        return self.training.generated

    def sample(self, condition: Condition, draws: Draws) -> Sampled:
        """Draw what becomes of particles, as `flashlink.flashsim.parameterizations.interface` wants it."""
        accepted = np.flatnonzero(self.grid.accepts(condition))
        condition, draws = condition[accepted], draws[accepted]
        uniform = draws.uniform("simulate/particle", 4)
        cells = self.grid.locate(condition)
        category = self.efficiency.sample(condition, cells, uniform[0])
        kept = np.flatnonzero(category)
        condition, cells, category, uniform = condition[kept], cells[kept], category[kept], uniform[:, kept]
        normal = draws[kept].normal("simulate/residual", 5)
        tracks = self.resolution.sample(condition, self.grid, cells, category, uniform[1], normal)
        is_muon, likelihoods = self.identification.sample(condition, cells, category, uniform[2:])
        extrapolated = ~self.efficiency.in_range(condition, self.grid)
        return Sampled(accepted[kept], category, tracks, is_muon, likelihoods, extrapolated)


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    digest: str
    tables: msgspec.Raw


def write(path: Path, tables: Tables) -> None:
    """Write the tables; the file appears complete or not at all, and the same tables give the same bytes."""
    body = msgspec.json.encode(tables, enc_hook=pack)
    envelope = _Envelope(hashlib.sha256(body).hexdigest(), msgspec.Raw(body))
    with replacing(path) as temporary:
        temporary.write_bytes(msgspec.json.encode(envelope) + b"\n")


def read(path: Path) -> Tables:
    """Read tables and check them.

    Raises:
        RequestError: The file is missing, is not one of tables, was cut or changed, or is of another format.
    """
    advice = "write it with `flashlink parameterize`"
    try:
        envelope = msgspec.json.decode(path.read_bytes(), type=_Envelope)
    except OSError as error:
        raise wrong(str(path), error.strerror, "a readable file of tables", advice) from error
    except msgspec.DecodeError as error:
        raise wrong(str(path), str(error), "a complete file of tables", advice) from error
    found = hashlib.sha256(envelope.tables).hexdigest()
    if found != envelope.digest:
        raise wrong(f"{path}: digest", found[:16], f"{envelope.digest[:16]}, which it was written with", advice)
    try:
        seen = msgspec.json.decode(envelope.tables, type=dict[str, msgspec.Raw]).get("format")
        if seen != msgspec.Raw(str(FORMAT).encode()):
            raise wrong(f"{path}: format", bytes(seen or b"").decode(), f"{FORMAT}, which this version reads", advice)
        return msgspec.json.decode(envelope.tables, type=Tables, dec_hook=unpack)
    except msgspec.DecodeError as error:
        raise wrong(f"{path}: tables", str(error), "what this version reads", advice) from error
