"""Learned parameterizations of the whole chain, in the memory and in a folder.

::

    FOLDER/manifest.json          what everything is and comes from; the sha256 of the other files
           category.onnx          condition ─► not reconstructed, long, upstream or downstream
           track.onnx             condition, category ─► hits, covariance, chi2, pulls, ghost probability
           identification.onnx    condition, category, measured momentum ─► is_muon and all likelihoods
           vertex.onnx            event ─► covariance and pulls of the primary vertex
           ghosts.onnx            event ─► how many ghosts it has
           ghost.onnx             event ─► all variables of each
           photon.onnx            photon ─► whether it makes a cluster, its energy
           cluster.onnx           photon, measured energy ─► covariance, pulls and likelihood of the cluster

Ghosts and photons are missing where the training had none. No file holds code: ONNX is a graph of mathematical
operators, and the manifest is JSON.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import msgspec
import numpy as np

from flashlink.errors import wrong
from flashlink.flashsim.files import replacing
from flashlink.flashsim.learned import targets
from flashlink.flashsim.learned.chain import Chain
from flashlink.flashsim.learned.features import Ranges, features, measured, one_hot
from flashlink.flashsim.learned.ghosts import LearnedGhosts
from flashlink.flashsim.learned.photons import LearnedPhotons, PhotonRanges
from flashlink.flashsim.learned.quality import Degrees
from flashlink.flashsim.learned.variables import Apart, Variable
from flashlink.flashsim.learned.vertex import LearnedVertex
from flashlink.flashsim.likelihoods import PARTS
from flashlink.flashsim.packed import pack, unpack
from flashlink.flashsim.parameterizations.condition import Condition, Floats
from flashlink.flashsim.parameterizations.interface import Sampled
from flashlink.flashsim.parameterizations.resolution import QUALITY, Tracks
from flashlink.flashsim.random import Draws

#: Raised whenever the layout changes; other numbers are refused.
FORMAT = 4

#: The chains that models have to have, in the order in which they are drawn.
CHAINS = ("category", "track", "identification", "vertex")

#: Those that come together or not at all: where the training had ghosts, and photons.
OPTIONAL = (("ghosts", "ghost"), ("photon", "cluster"))


class Trained(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the training of one chain went.

    Attributes:
        rows: Rows that it learned from and that it was stopped by.
        epochs: Passes over them.
        best_epoch: The one whose parameters were kept.
        loss: Of the training and the validation rows then: mean negative logarithm of the likelihood.
        trunk: Widths of the layers that all variables share.
        head: Width of the layer of each variable's own.
        components: Of each mixture.
    """

    rows: tuple[int, int]
    epochs: int
    best_epoch: int
    loss: tuple[float, float]
    trunk: tuple[int, ...]
    head: int
    components: int


class Described(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One chain in the manifest.

    Attributes:
        inputs: Names of the columns of its condition.
        variables: What it draws.
        trained: How.
        origin: What it was learned from, if not from what the manifest says.
        apart: What tells the kinds of rows that have curves of their own.
    """

    inputs: tuple[str, ...]
    variables: tuple[Variable, ...]
    trained: Trained
    origin: Origin | None = None
    apart: tuple[Apart, ...] = ()


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the models were learned from.

    Attributes:
        generated: sha256 of each file of generated particles.
        reference: sha256 of each file of reference tracks.
        events: Events that both have.
        particles: Particles in them.
        tracks: Reconstructed particles.
        seed: Of the training.
        versions: Of the packages that trained.
        photons: sha256 of each file of reference clusters.
    """

    generated: tuple[str, ...]
    reference: tuple[str, ...]
    events: int
    particles: int
    tracks: int
    seed: int
    versions: dict[str, str]
    photons: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a folder of models is.

    Attributes:
        format: `FORMAT`.
        version: Of the flashlink that wrote it.
        origin: What it was learned from.
        ranges: What the training had, by species.
        accepted: Least log10 of the momentum in MeV, and least and largest pseudorapidity, of its tracks.
        degrees: What a track's ndf is, if it is a sum: of a constant and of multiples of its hits; empty if it is not.
        chains: The models.
        digests: sha256 of the other files, by name.
        photons: What the training of photons had; None without.
    """

    format: int
    version: str
    origin: Origin
    ranges: Ranges
    accepted: tuple[float, float, float]
    degrees: tuple[float, ...]
    chains: dict[str, Described]
    digests: dict[str, str]
    photons: PhotonRanges | None = None


@dataclass(frozen=True)
class Models:
    """Learned parameterizations; `flashlink.flashsim.parameterizations.interface` says what they do.

    Attributes:
        manifest: What they are.
        chains: The models by name.
    """

    manifest: Manifest
    chains: Mapping[str, Chain]

    @property
    def version(self) -> str:
        """Of the flashlink that trained them."""
        return self.manifest.version

    @property
    def training(self) -> Origin:
        """What they were learned from, but for chains that were trained again on something else."""
        return self.manifest.origin

    @property
    def trained_on(self) -> tuple[str, ...]:
        """sha256 of each file of generated particles that they were learned from."""
        origins = [self.manifest.origin, *(described.origin for described in self.manifest.chains.values())]
        return tuple(dict.fromkeys(digest for origin in origins if origin for digest in origin.generated))

    @property
    def vertex(self) -> LearnedVertex:
        """Of the primary vertex."""
        return LearnedVertex(self.chains["vertex"])

    @property
    def ghosts(self) -> LearnedGhosts:
        """Of tracks that no particle made."""
        chains = (self.chains["ghosts"], self.chains["ghost"]) if "ghosts" in self.chains else None
        return LearnedGhosts(chains, Degrees(self.manifest.degrees))

    @property
    def photons(self) -> LearnedPhotons | None:
        """Of photons; None where the training had none."""
        ranges = self.manifest.photons
        return LearnedPhotons(self.chains["photon"], self.chains["cluster"], ranges) if ranges else None

    def sample(self, condition: Condition, draws: Draws) -> Sampled:
        """Draw what becomes of particles."""
        accepted = np.flatnonzero(self._accepts(condition))
        condition, draws = condition[accepted], draws[accepted]
        seen = features(condition)
        category = self._draw("category", seen, draws)["category"].astype(np.int8)
        kept = np.flatnonzero(category)
        condition, draws, category = condition[kept], draws[kept], category[kept]
        seen = np.concatenate([seen[kept], one_hot(category)], axis=1)
        values = self._draw("track", seen, draws)
        residual, covariance = targets.decoded(values, condition)
        momentum = measured(condition, residual[:, 4])
        identity = self._draw("identification", np.concatenate([seen, momentum], axis=1), draws)
        return Sampled(
            rows=accepted[kept],
            category=category,
            tracks=Tracks(residual, covariance, self._quality(values)),
            is_muon=identity["is_muon"] > 0,
            likelihoods=np.stack([identity[name] for name in PARTS], axis=1),
            extrapolated=~self.manifest.ranges.inside(condition),
        )

    def _accepts(self, condition: Condition) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Where tracks can be: beyond, training had not one."""
        least, low, high = self.manifest.accepted
        return np.asarray((condition.log_p >= least) & (condition.eta >= low) & (condition.eta <= high))

    def _draw(self, name: str, seen: Floats, draws: Draws) -> Mapping[str, Floats]:
        chain = self.chains[name]
        return chain.sample(seen, draws.uniform(f"simulate/{name}", len(chain.variables)))

    def _quality(self, values: Mapping[str, Floats]) -> Floats:
        """`QUALITY`, shape (tracks, 6)."""
        columns = dict(values) | Degrees(self.manifest.degrees).quality(values)
        return np.stack([columns[name] for name in QUALITY], axis=1)


def write(folder: Path, models: Models) -> None:
    """Write models; the manifest comes last, so a folder that has one is whole. The digests are set here."""
    contents = {f"{name}.onnx": chain.model for name, chain in models.chains.items()}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    manifest = msgspec.structs.replace(models.manifest, digests=digests)
    contents["manifest.json"] = _readable(msgspec.json.encode(manifest, enc_hook=pack))
    for name, content in contents.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)


def _readable(text: bytes) -> bytes:
    """Indented JSON, with numbers beside each other."""
    indented = msgspec.json.format(text, indent=1) + b"\n"
    return re.sub(rb"(?<=\[)\s+([^\]\[{}\"]+?)\s+(?=\])", lambda found: b" ".join(found[1].split()), indented)


def read(folder: Path) -> Models:
    """Read models and check them against their digests.

    Raises:
        RequestError: A file is missing, was cut or changed, or is of another format.
    """
    advice = "train with `flashlink train`"
    text = _bytes(folder / "manifest.json", advice)
    try:
        found = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("format")
        if found != msgspec.Raw(str(FORMAT).encode()):
            raise wrong(
                f"{folder}: format", bytes(found or b"").decode(), f"{FORMAT}, which this version reads", advice
            )
        manifest = msgspec.json.decode(text, type=Manifest, dec_hook=unpack)
        _check_names(folder, manifest, advice)
        contents = {name: _checked(folder / name, digest, advice) for name, digest in manifest.digests.items()}
    except msgspec.DecodeError as error:
        raise wrong(f"{folder}: models", str(error), "what this version reads", advice) from error
    chains = {
        name: Chain(described.variables, described.inputs, contents[f"{name}.onnx"], described.apart)
        for name, described in manifest.chains.items()
    }
    return Models(manifest, chains)


def _check_names(folder: Path, manifest: Manifest, advice: str) -> None:
    """Whether the chains are those that belong together, each with its file."""
    chains = set(manifest.chains)
    known = {name for group in OPTIONAL for name in group}
    missing = set(CHAINS) - chains | {name for group in OPTIONAL if chains & set(group) for name in group} - chains
    if missing or chains - set(CHAINS) - known or ("photon" in chains) != (manifest.photons is not None):
        wanted = f"{', '.join(CHAINS)}, with or without {' and '.join('+'.join(group) for group in OPTIONAL)}"
        raise wrong(f"{folder}: models", sorted(chains), wanted, advice)
    if set(manifest.digests) != {f"{name}.onnx" for name in chains}:
        raise wrong(f"{folder}: digests", sorted(manifest.digests), "one of the file of each chain", advice)


def shipped() -> Path:
    """The folder of the models that come with flashlink: of its reference detector."""
    return Path(str(files("flashlink.flashsim.learned") / "shipped"))


def _bytes(path: Path, advice: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise wrong(str(path), error.strerror, "a readable file of models", advice) from error


def _checked(path: Path, digest: str, advice: str) -> bytes:
    content = _bytes(path, advice)
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise wrong(f"{path}: digest", found[:16], f"{digest[:16]}, as its manifest says", advice)
    return content
