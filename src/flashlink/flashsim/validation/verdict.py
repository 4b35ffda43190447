"""The verdict: the numbers of a validation against thresholds.

Where many bins are held against one threshold, chance alone takes some of them beyond it. So a bin is missed only if it
is beyond by more than what the largest of as many fluctuations is in one of twenty validations (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.stats import beta, norm

from flashlink.flashsim.chunks import digests
from flashlink.flashsim.files import metadata
from flashlink.flashsim.samples import TRACK_PARAMETERS
from flashlink.flashsim.settings import read_toml
from flashlink.flashsim.validation.distances import TAIL
from flashlink.flashsim.validation.measure import Numbers

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Probability that chance alone makes a check miss.
_CHANCE = 0.05

#: What a threshold for a single number adds, where only a difference beyond two of its errors is missed.
_ERRORS_ASIDE = ", two errors aside"


#: Species that have is_muon by decays in flight, punch-through and hits of others.
_HADRONS = ("pion", "kaon", "proton")


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a flash simulation has to reach; a TOML file may set each.

    Attributes:
        auc: Of the two-sample tests, at most.
        pull: Width of the pulls of long tracks, from and to; of vertices and photons relative to the reference.
        efficiency: Difference of an efficiency from the reference's in any bin, at most.
        misidentification: Share of hadrons with is_muon over the reference's in any bin, from and to.
        identification: The same of the efficiency of identification at equal misidentification.
        mass: Relative difference of the width of a mass, at most.
        distance: Of the cumulative distributions of a variable in any bin, at most.
        tail: Share of a variable in the reference's tails over the reference's own, from and to.
        correlation: Difference of the correlation of two variables, at most.
        ghosts: Relative difference of the number of ghosts, at most.
    """

    auc: float = 0.55
    pull: tuple[float, float] = (0.95, 1.05)
    efficiency: float = 0.02
    misidentification: tuple[float, float] = (0.67, 1.5)
    identification: float = 0.02
    mass: float = 0.03
    distance: float = 0.05
    tail: tuple[float, float] = (0.5, 2.0)
    correlation: float = 0.05
    ghosts: float = 0.05


@dataclass(frozen=True)
class Check:
    """One line of the verdict.

    Attributes:
        name: What was checked.
        found: The value, or the worst of many.
        wanted: The threshold.
        holds: Whether it holds; None where there was too little to tell.
    """

    name: str
    found: str
    wanted: str
    holds: bool | None


def read_thresholds(path: Path) -> Thresholds:
    """Read thresholds from a TOML file.

    Raises:
        RequestError: The file cannot be read, or has a key or value that is none of thresholds.
    """
    return read_toml(path, Thresholds, "file of thresholds")


def verdict(numbers: Numbers, thresholds: Thresholds) -> list[Check]:
    """Hold the numbers against the thresholds."""
    return [
        *_separations(numbers, thresholds),
        *_pulls(numbers, thresholds),
        *_efficiencies(numbers, thresholds),
        _misidentification(numbers, thresholds),
        _identification(numbers, thresholds),
        *_masses(numbers, thresholds),
        _distances(numbers, thresholds),
        _tails(numbers, thresholds),
        _correlation(numbers, thresholds),
        _ghosts(numbers, thresholds),
    ]


def held_out(generated: Sequence[Path], flash: Sequence[Path]) -> Check:
    """Whether the flash simulation was trained on other files than it is compared on, by their digests."""
    trained = {digest for path in flash for digest in metadata(path).get("trained_on", ())}
    name, wanted = "training", "on other events than these"
    if not trained:
        return Check(name, "the flash sample does not say what its simulation was trained on", wanted, None)
    seen = trained.intersection(digests(generated))
    return Check(name, f"{len(seen)} of its {len(trained)} files are compared here", wanted, not seen)


@dataclass(frozen=True)
class _Excess:
    """One of many values: by how much it is beyond what is allowed (positive is missed), and by how many errors off."""

    beyond: float
    errors: float
    text: str


def _worst(name: str, wanted: str, found: Sequence[_Excess]) -> Check:
    if not found:
        return Check(name, "too few to tell", wanted, None)
    missed = [value for value in found if value.beyond > 0]
    if missed:
        worst = max(missed, key=lambda value: value.beyond)
        return Check(name, f"{len(missed)} of {len(found)} are not; worst {worst.text}", wanted, False)
    largest = max(found, key=lambda value: value.errors)
    return Check(name, f"all {len(found)} are; largest difference for its error: {largest.text}", wanted, True)


def _deviations(count: int) -> float:
    """Standard deviations that the largest of `count` fluctuations reaches in one of twenty cases."""
    return float(norm.isf(_CHANCE / 2 / max(count, 1)))


def _separations(numbers: Numbers, thresholds: Thresholds) -> Iterator[Check]:
    for found in numbers.separations:
        name = f"classifier between the samples, {found.what} variables: AUC"
        yield Check(name, f"{found.auc:.3f} ± {found.error:.3f}", f"below {thresholds.auc}", found.auc < thresholds.auc)


def _pulls(numbers: Numbers, thresholds: Thresholds) -> Iterator[Check]:
    low, high = thresholds.pull
    for pull in numbers.pulls:
        if pull.bin.condition:
            continue
        found = f"{pull.flash:.3f} ± {pull.error:.3f} (reference {pull.reference:.3f})"
        # A vertex has tracks and a cluster energy that are another's; not even the reference's errors tell that.
        scale = pull.reference if pull.parameter not in TRACK_PARAMETERS else 1.0
        margin = 2 * pull.error
        holds = low * scale - margin <= pull.flash <= high * scale + margin
        wanted = f"{low} to {high}" + (" times the reference's" if scale != 1 else "") + _ERRORS_ASIDE
        yield Check(f"width of the pull of {pull.parameter}", found, wanted, holds)


def _efficiencies(numbers: Numbers, thresholds: Thresholds) -> Iterator[Check]:
    many = _deviations(len(numbers.efficiencies))
    for what in dict.fromkeys(found.what for found in numbers.efficiencies):
        excesses = [
            _Excess(
                abs(found.flash - found.reference) - many * found.error - thresholds.efficiency,
                abs(found.flash - found.reference) / found.error,
                f"{found.species}, {found.bin}: {found.flash:.3f} for {found.reference:.3f} ± {found.error:.3f}",
            )
            for found in numbers.efficiencies
            if found.what == what
        ]
        names = {"is_muon": "is_muon of long tracks in bins", "photon": "efficiency of photons in bins"}
        name = names.get(what, f"efficiency of {what} tracks in bins")
        yield _worst(name, f"within {thresholds.efficiency}, chance aside", excesses)


def _identification(numbers: Numbers, thresholds: Thresholds) -> Check:
    many = _deviations(sum(len(curve.flash) for curve in numbers.curves))
    excesses = [
        _Excess(
            abs(flash - reference) - many * error - thresholds.identification,
            abs(flash - reference) / error,
            f"{curve.species} at {pions:.1%} of pions, {_range(curve.momentum)}: {flash:.3f} for {reference:.3f}",
        )
        for curve in numbers.curves
        for pions, flash, reference, error in zip(
            curve.misidentified, curve.flash, curve.reference, curve.error, strict=True
        )
    ]
    name = "efficiency of identification at equal misidentification"
    return _worst(name, f"within {thresholds.identification}, chance aside", excesses)


def _range(momentum: tuple[float, float]) -> str:
    low, high = momentum
    return f"{low:g} to {high:g} GeV" if high else "all momenta"


def _masses(numbers: Numbers, thresholds: Thresholds) -> Iterator[Check]:
    wanted = f"within {thresholds.mass:.0%} of 1{_ERRORS_ASIDE}"
    if not numbers.closures:
        yield Check("width of masses, flash over reference", "too few decays to tell", wanted, None)
    for found in numbers.closures:
        name = f"width of the mass of {found.name}, flash over reference"
        holds = abs(found.ratio - 1) <= thresholds.mass + 2 * found.error
        text = f"{found.ratio:.3f} ± {found.error:.3f} ({found.flash:.2f} for {found.reference:.2f} MeV)"
        yield Check(name, text, wanted, holds)


def _distances(numbers: Numbers, thresholds: Thresholds) -> Check:
    # The distribution of Kolmogorov: its 95 % point is at 1.358.
    factor = float(np.sqrt(-np.log(_CHANCE / max(len(numbers.distances), 1) / 2) / 2)) / 1.358
    excesses = [
        _Excess(
            found.distance - factor * found.expected - thresholds.distance,
            found.distance / found.expected,
            f"{found.variable}, {found.bin}: {found.distance:.3f}",
        )
        for found in numbers.distances
    ]
    name = "distance of the distributions of every variable in every bin"
    return _worst(name, f"below {thresholds.distance}, chance aside", excesses)


def _tails(numbers: Numbers, thresholds: Thresholds) -> Check:
    low, high = thresholds.tail
    # Discrete variables have no tails of that size.
    some = [found for found in numbers.distances if found.tails[0] > 0.5 * TAIL]
    counts = np.array([np.rint(np.multiply(found.tails, found.rows)) for found in some]).reshape(-1, 2)
    rows = np.array([found.rows for found in some]).reshape(-1, 2)
    excesses = _beyond_ratios(counts, rows, thresholds.tail, [f"{found.variable}, {found.bin}" for found in some])
    name = f"tails of {TAIL:g} of every variable in every bin"
    return _worst(name, f"{low} to {high} times, chance aside", excesses)


def _misidentification(numbers: Numbers, thresholds: Thresholds) -> Check:
    """Hadrons with is_muon are so few that the difference of their shares tells little: their ratio does."""
    low, high = thresholds.misidentification
    some = [found for found in numbers.efficiencies if found.what == "is_muon" and found.species in _HADRONS]
    shares = np.array([(found.reference, found.flash) for found in some]).reshape(-1, 2)
    rows = np.array([found.rows for found in some]).reshape(-1, 2)
    texts = [f"{found.species}, {found.bin}" for found in some]
    excesses = _beyond_ratios(np.rint(shares * rows), rows, thresholds.misidentification, texts)
    return _worst("is_muon of hadrons in bins", f"{low} to {high} times, chance aside", excesses)


def _beyond_ratios(
    counts: Floats, rows: Integers, limits: tuple[float, float], places: Sequence[str]
) -> list[_Excess]:  # fmt: skip
    """Counts of rows, reference and flash, each of shape (bins, 2), whose shares have ratios within limits or not."""
    low, high = limits
    least, most = _ratios(counts, rows, _CHANCE / 2 / max(len(places), 1))
    beyond = np.maximum(least - high, low - most)
    share = np.maximum(counts.sum(axis=1), 1) / rows.sum(axis=1)
    errors = np.abs(np.subtract(*(counts / rows).T)) / np.sqrt((share[:, None] / rows).sum(axis=1))
    texts = [
        f"{flash:.0f} of {of[1]} for {reference:.0f} of {of[0]}"
        for (reference, flash), of in zip(counts, rows, strict=True)
    ]
    return [
        _Excess(float(excess), float(error), f"{place}: {text}")
        for excess, error, place, text in zip(beyond, errors, places, texts, strict=True)
    ]


def _ratios(counts: Floats, rows: Integers, chance: float) -> tuple[Floats, Floats]:
    """The least and the largest ratio of two shares, second over first, that fluctuate to the counts with this chance.

    Few entries fluctuate other than a normal distribution. Given their sum, the second count is binomial, exactly
    (J. Przyborowski, H. Wilenski, Biometrika 31 (1940) 313), and its limits are those of Clopper and Pearson.

    Args:
        counts: Shape (bins, 2).
        rows: Of which they are, the same shape.
        chance: On either side.
    """
    first, second = counts.T
    least = np.where(second > 0, beta.ppf(chance, np.maximum(second, 1), first + 1), 0.0)
    most = np.where(first > 0, beta.isf(chance, second + 1, np.maximum(first, 1)), 1.0)
    scale = rows[:, 0] / rows[:, 1]
    with np.errstate(divide="ignore"):
        return least / (1 - least) * scale, most / (1 - most) * scale


def _correlation(numbers: Numbers, thresholds: Thresholds) -> Check:
    difference, first, second = numbers.correlations.worst()
    many = _deviations(len(numbers.correlations.names) * (len(numbers.correlations.names) - 1) // 2)
    margin = many * float(np.sqrt(sum(1 / max(tracks, 1) for tracks in numbers.tracks)))
    return Check(
        "correlations of variables", f"worst {first} with {second}: {difference:.3f} off",
        f"within {thresholds.correlation}, chance aside", difference <= thresholds.correlation + margin,
    )  # fmt: skip


def _ghosts(numbers: Numbers, thresholds: Thresholds) -> Check:
    rate, wanted = numbers.ghosts, f"within {thresholds.ghosts:.0%}{_ERRORS_ASIDE}"
    if not rate.reference:
        return Check("ghosts in an event", "the reference has none", wanted, rate.flash == 0)
    ratio = rate.flash / rate.reference
    found = f"{rate.flash:.3f} for {rate.reference:.3f}"
    return Check("ghosts in an event", found, wanted, abs(ratio - 1) <= thresholds.ghosts + 2 * rate.error)
