"""Provenance: what it takes to make the samples of a report again, and to tell that they are the same."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flashlink import __version__
from flashlink.errors import wrong
from flashlink.flashsim.analyse import B_PLUS
from flashlink.flashsim.chunks import digests
from flashlink.flashsim.files import metadata
from flashlink.flashsim.parameterizations.interface import Parameterizations
from flashlink.flashsim.records import Record
from flashlink.flashsim.report.comparison import Comparison, Samples

#: Packages whose versions may change numbers.
PACKAGES = ("pythia8mc", "numpy", "scipy", "pyarrow", "onnxruntime")


@dataclass(frozen=True)
class Fact:
    """One line of the provenance.

    Attributes:
        label: What.
        values: Its values, one a line.
        code: To be typed or compared letter by letter.
    """

    label: str
    values: tuple[str, ...]
    code: bool = False


def provenance(
    samples: Samples, learned: Parameterizations, digest: str, records: Sequence[Record], comparison: Comparison
) -> list[Fact]:
    """Seeds, versions, settings, commands and digests.

    Args:
        samples: The files of the report.
        learned: What the flash sample was simulated with.
        digest: Its sha256.
        records: Of the steps.
        comparison: Of the samples.
    """
    generated, flash, reference = (
        _noted(paths) for paths in (samples.generated, samples.flash, samples.reference)
    )  # fmt: skip
    seed, training = generated.get("seed"), learned.training
    seeds = {record.seed for record in records if record.step == "generate"}
    others = sorted(other for other in seeds if other not in (seed, None))
    files = (samples.flash_candidates, samples.reference_candidates)
    sums = [(digest, "parameterizations"), *zip(digests(files), (path.name for path in files), strict=True)]
    facts = [
        Fact("made by", _commands(comparison.generated, records, generated, flash, reference), code=True),
        Fact("seeds", (
            f"events {_text(seed)}, flash simulation {_text(flash.get('seed'))}, "
            f"reference detector {_text(reference.get('seed'))}",
            *([f"training of the tables {', '.join(map(str, others))}"] if others else []),
        )),
        Fact("Pythia settings", _settings(generated), code=True),
        Fact("reference detector", (f"geometry {_text(reference.get('geometry'))}",)),
        Fact("training of the parameterizations", (
            f"{training.events:,} events, {training.particles:,} particles, {training.tracks:,} tracks",
        )),
        Fact("versions", (", ".join([
            f"flashlink {__version__}", f"parameterizations of {learned.version}",
            f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES),
        ]),)),
        Fact("sha256 of files", tuple(f"{digest}  {name}" for digest, name in sums), code=True),
        Fact("sha256 of the training's samples", (" ".join(each[:12] for each in learned.trained_on),), code=True),
    ]  # fmt: skip
    return [fact for fact in facts if fact.values]


def _settings(noted: Mapping[str, Any]) -> tuple[str, ...]:
    """Pythia's settings, a line each; none where a file from elsewhere notes something else by that name."""
    settings = noted.get("settings")
    return tuple(map(str, settings)) if isinstance(settings, list) else ()


def _commands(events: int, records: Sequence[Record], *noted: Mapping[str, Any]) -> tuple[str, ...]:
    """What to type: the run where the steps were pods of one, else each step as its sample notes it."""
    if any(record.pod for record in records):
        return (f"flashlink run --events {events} --seed {noted[0].get('seed')}",)
    return tuple(str(one["command"]) for one in noted if "command" in one)


def check_made_with(samples: Samples, digest: str) -> None:
    """Check that the flash sample was made with the parameterizations of this sha256, where it says with which.

    Raises:
        RequestError: It was made with others.
    """
    noted = _noted(samples.flash).get("parameterizations")
    if noted not in (None, digest):
        expected = f"what {samples.flash[0]} was simulated with (sha256 {str(noted)[:12]}…)"
        raise wrong("--parameterizations, sha256", f"{digest[:12]}…", expected, "name the file or folder of these")


def trained_on_these(samples: Samples, learned: Parameterizations) -> int:
    """How many of the generated files of the report the parameterizations were made from, by their digests."""
    return len(set(digests(samples.generated)).intersection(learned.trained_on))


def is_b_to_jpsi_k(samples: Samples) -> bool:
    """Whether the events are those of the main job, B+ -> J/psi K+ at 13 TeV, as their sample notes it."""
    noted = _noted(samples.generated)
    return noted.get("signal") == B_PLUS and any("eCM = 13000" in line for line in _settings(noted))


def _noted(paths: Sequence[Path]) -> dict[str, Any]:
    """What the first of the files, or the first of those joined in it, says of itself."""
    noted = metadata(paths[0])
    joined = noted.get("joined")
    return dict(joined[0]) if joined else noted


def _text(value: object) -> str:
    return "unknown" if value is None else str(value)
