"""The numbers of a validation: distances, tails, correlations, pulls, efficiencies and a two-sample test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import SPECIES
from flashlink.flashsim.samples import LONG, TRACK_PARAMETERS
from flashlink.flashsim.validation.sample import Floats, Pair, Side, Variables

#: Conditions in bins of which everything is compared, and the bins, as quantiles of the reference.
BINNED = ("log10 p", "eta", "multiplicity", "origin z")
BINS = 4

#: Rows in a bin, at least; fewer say nothing.
LEAST_DISTANCE, LEAST_EFFICIENCY = 500, 400

#: Share of the tracks beyond the two ends that are called tails.
TAIL = 0.001

#: Tracks of each simulation that the two-sample test takes at most; half of them to train.
MOST_TESTED = 100_000


@dataclass(frozen=True)
class Distance:
    """How far apart one variable is in the two samples.

    Attributes:
        variable: Name.
        condition: In bins of what; "" for all tracks.
        low: Edges of the bin.
        high: The same.
        distance: Largest difference of the cumulative distributions (Kolmogorov and Smirnov), 0 to 1.
        expected: What two samples of the reference would differ by, in one of twenty cases.
        tail: Share of the flash sample beyond the reference's ends, which leave out `TAIL` of the reference.
    """

    variable: str
    condition: str
    low: float
    high: float
    distance: float
    expected: float
    tail: float


@dataclass(frozen=True)
class Efficiency:
    """Shares of long tracks in one bin.

    Attributes:
        species: Name of the class of the particles.
        condition: In bins of what.
        low: Edges of the bin.
        high: The same.
        particles: Generated particles in it.
        reference: Their share with a long track in the reference.
        flash: In the flash simulation.
        error: Standard deviation of the difference, both samples' fluctuations included.
    """

    species: str
    condition: str
    low: float
    high: float
    particles: int
    reference: float
    flash: float
    error: float


@dataclass(frozen=True)
class Pull:
    """Residual over quoted error of long tracks: half the central interval of 68 % in both samples."""

    parameter: str
    reference: float
    flash: float


@dataclass(frozen=True)
class Separation:
    """How well a boosted classifier tells the two samples apart, given the conditions too.

    Attributes:
        what: "track" or "pid".
        auc: Area under its ROC curve on tracks that it was not trained on; 0.5 is not at all.
        tracks: Of each sample, half of them to train.
    """

    what: str
    auc: float
    tracks: int


@dataclass(frozen=True)
class Numbers:
    """All numbers of a validation.

    Attributes:
        events: Compared events.
        tracks: Tracks of the reference and of the flash simulation.
        distances: For each variable, over all tracks and in bins.
        correlation: Largest difference of the correlation of two track or PID variables, and of which.
        pulls: Of the five parameters.
        efficiencies: In bins of each condition, by species.
        separations: The two-sample tests.
    """

    events: int
    tracks: tuple[int, int]
    distances: tuple[Distance, ...]
    correlation: tuple[float, str, str]
    pulls: tuple[Pull, ...]
    efficiencies: tuple[Efficiency, ...]
    separations: tuple[Separation, ...]


def measure(pair: Pair) -> Numbers:
    """Compare both simulations."""
    reference, flash = pair.reference, pair.flash
    return Numbers(
        events=pair.events,
        tracks=(int(reference.made.sum()), int(flash.made.sum())),
        distances=tuple(_distances(reference, flash)),
        correlation=_correlation(reference.track | reference.pid, flash.track | flash.pid),
        pulls=tuple(_pull(name, reference, flash) for name in TRACK_PARAMETERS),
        efficiencies=tuple(_efficiencies(pair)),
        separations=tuple(
            Separation(what, *separation(ours, theirs))
            for what, ours, theirs in (
                ("track", reference.conditions | reference.track, flash.conditions | flash.track),
                ("pid", reference.conditions | reference.pid, flash.conditions | flash.pid),
            )
        ),
    )


def separation(first: Variables, second: Variables, most: int = MOST_TESTED) -> tuple[float, int]:
    """Train a boosted classifier to tell two samples apart.

    Args:
        first: The variables of one sample.
        second: Those of the other.
        most: Rows of each that are used at most.

    Returns:
        The area under its ROC curve on held-out rows, and the rows of each sample.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    samples = [np.stack(list(sample.values()), axis=1) for sample in (first, second)]
    rows = min(most, *(len(sample) for sample in samples))
    # Rows are ordered by event, so a shuffle, always the same one.
    chosen = [sample[np.random.default_rng(1).permutation(len(sample))[:rows]] for sample in samples]
    half = rows // 2
    label = np.repeat([0, 1], half)
    model = HistGradientBoostingClassifier(max_iter=200, early_stopping=True, random_state=1)
    model.fit(np.concatenate([sample[:half] for sample in chosen]), label)
    held_out = np.concatenate([sample[half : 2 * half] for sample in chosen])
    return float(roc_auc_score(label, model.predict_proba(held_out)[:, 1])), rows


def width(values: Floats) -> float:
    """Half the central interval of 68 %."""
    low, high = np.quantile(values, [0.1587, 0.8413])
    return float(high - low) / 2


def _edges(values: Floats) -> Floats:
    return np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)))


def _inside(values: Floats, low: float, high: float, last: float) -> npt.NDArray[np.bool_]:
    return np.asarray((values >= low) & ((values < high) | (high == last) & (values <= high)))


def _distances(reference: Side, flash: Side) -> Iterator[Distance]:
    everything = [("", -np.inf, np.inf, np.inf)]
    for condition in BINNED:
        edges = _edges(reference.conditions[condition])
        everything += [(condition, float(low), float(high), float(edges[-1])) for low, high in pairwise(edges)]
    for condition, low, high, last in everything:
        chosen = [
            _inside(side.conditions[condition], low, high, last) if condition else np.ones(side.made.sum(), dtype=bool)
            for side in (reference, flash)
        ]
        if min(mask.sum() for mask in chosen) < LEAST_DISTANCE:
            continue
        for name in (*reference.track, *reference.pid):
            ours, theirs = (
                (side.track | side.pid)[name][mask] for side, mask in zip((reference, flash), chosen, strict=True)
            )
            yield _distance(name, (condition, low, high), ours, theirs)


def _distance(name: str, where: tuple[str, float, float], reference: Floats, flash: Floats) -> Distance:
    both = np.sort(np.concatenate([reference, flash]))
    below = [np.searchsorted(np.sort(sample), both, side="right") / len(sample) for sample in (reference, flash)]
    ends = np.quantile(reference, [TAIL / 2, 1 - TAIL / 2])
    tail = ((flash < ends[0]) | (flash > ends[1])).mean()
    # The 95 % point of the distribution of Kolmogorov.
    expected = 1.358 * np.sqrt(1 / len(reference) + 1 / len(flash))
    return Distance(name, *where, float(np.abs(below[0] - below[1]).max()), float(expected), float(tail))


def _correlation(reference: Variables, flash: Variables) -> tuple[float, str, str]:
    """Of the ranks, so that no tail dominates."""
    names = [name for name, values in reference.items() if np.ptp(values) > 0 and np.ptp(flash[name]) > 0]
    matrices = [np.corrcoef([_ranks(side[name]) for name in names]) for side in (reference, flash)]
    difference = np.abs(matrices[0] - matrices[1])
    first, second = np.unravel_index(int(difference.argmax()), difference.shape)
    return float(difference.max()), names[first], names[second]


def _ranks(values: Floats) -> Floats:
    return np.searchsorted(np.sort(values), values, side="left").astype(np.float64)


def _pull(parameter: str, reference: Side, flash: Side) -> Pull:
    name = f"pull {parameter}"
    return Pull(parameter, *(width(side.track[name][_pulled(side)]) for side in (reference, flash)))


def _pulled(side: Side) -> npt.NDArray[np.bool_]:
    """Long tracks of all but electrons, whose radiation no quoted error covers."""
    return np.asarray((side.conditions["category"] == LONG) & (side.conditions["species"] != 0))


def _efficiencies(pair: Pair) -> Iterator[Efficiency]:
    for number, species in enumerate(SPECIES):
        of_species = pair.conditions["species"] == number
        for condition in (*BINNED, "phi"):
            values = pair.conditions[condition]
            edges = _edges(values[of_species]) if of_species.any() else np.zeros(0)
            for low, high in pairwise(edges):
                chosen = of_species & _inside(values, low, high, edges[-1])
                count = int(chosen.sum())
                if count < LEAST_EFFICIENCY:
                    continue
                ours, theirs = (float(side.long[chosen].mean()) for side in (pair.reference, pair.flash))
                error = np.sqrt(sum(max(share * (1 - share), 1 / count) for share in (ours, theirs)) / count)
                yield Efficiency(species, condition, float(low), float(high), count, ours, theirs, float(error))
