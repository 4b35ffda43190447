"""How far apart two samples are: distances, tails, correlations and pulls of every variable, over all and in bins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.report.fits import sigma68, sigma68_error
from flashlink.flashsim.samples import TRACK_PARAMETERS
from flashlink.flashsim.validation.sample import Floats, Group, Mask, Pair, Side, Variables

#: Conditions in bins of which everything is compared, and the bins, as quantiles of the reference.
BINNED = ("log10 p", "eta", "phi", "multiplicity", "origin z")
BINS = 4

#: Pulls of each group.
PULLED = {
    "track": TRACK_PARAMETERS,
    "vertex": ("pv_x", "pv_y", "pv_z"),
    "photon": ("photon x", "photon y", "photon energy"),
}

#: Rows in a bin, at least; fewer say nothing.
LEAST = 500

#: Share of the rows beyond the two ends that are called tails.
TAIL = 0.001


@dataclass(frozen=True)
class Bin:
    """Some of the rows: those in a bin of a condition, or all.

    Attributes:
        condition: Name; "" for all rows.
        low: Edges.
        high: The same; only the last bin has its upper edge.
        last: Whether it is the last one.
    """

    condition: str = ""
    low: float = -np.inf
    high: float = np.inf
    last: bool = True

    @classmethod
    def of(cls, condition: str, values: Floats, bins: int) -> list[Bin]:
        """Bins with about as many of the values each."""
        edges = [float(edge) for edge in np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))]
        return [cls(condition, low, high, last=high == edges[-1]) for low, high in pairwise(edges)]

    def inside(self, conditions: Variables, rows: int) -> Mask:
        """Which of the rows are in it."""
        if not self.condition:
            return np.ones(rows, dtype=bool)
        values = conditions[self.condition]
        return np.asarray((values >= self.low) & ((values < self.high) | (self.last & (values <= self.high))))

    def __str__(self) -> str:
        """For the reader."""
        return f"{self.condition} {self.low:.3g} to {self.high:.3g}" if self.condition else "all"


@dataclass(frozen=True)
class Distance:
    """How far apart one variable is in the two samples.

    Attributes:
        group: ``track``, ``identification`` or another of the sample's groups.
        variable: Name.
        bin: Of which rows.
        rows: How many, in the reference and in the flash sample.
        distance: Largest difference of the cumulative distributions (Kolmogorov and Smirnov), 0 to 1.
        expected: What two samples of the reference would differ by, in one of twenty cases.
        tails: Shares of the reference and of the flash sample beyond the ends that leave out `TAIL` of the reference.
    """

    group: str
    variable: str
    bin: Bin
    rows: tuple[int, int]
    distance: float
    expected: float
    tails: tuple[float, float]


@dataclass(frozen=True)
class Correlations:
    """Correlations of the ranks of all pairs of variables, so that no tail dominates.

    Attributes:
        names: The variables that vary in both samples.
        reference: Shape (variables, variables).
        flash: The same of the flash sample.
    """

    names: tuple[str, ...]
    reference: tuple[tuple[float, ...], ...]
    flash: tuple[tuple[float, ...], ...]

    def worst(self) -> tuple[float, str, str]:
        """The largest difference, and of which two variables."""
        difference = np.abs(np.array(self.reference) - np.array(self.flash))
        first, second = np.unravel_index(int(difference.argmax()), difference.shape)
        return float(difference.max()), self.names[first], self.names[second]


@dataclass(frozen=True)
class Pull:
    """Residual over quoted error: half the central interval of 68 %, 1 if the errors are right.

    Attributes:
        parameter: Of long tracks, of primary vertices or of photons.
        bin: Of which.
        reference: Width in the reference.
        flash: In the flash simulation.
        error: Statistical error of the latter.
    """

    parameter: str
    bin: Bin
    reference: float
    flash: float
    error: float


def distances(pair: Pair) -> Iterator[Distance]:
    """Every variable of every group, over all rows and in bins of each condition that the group has."""
    for name, ours, theirs in pair.groups():
        for bin_, here, there in _bins(ours, theirs):
            rows = (int(here.sum()), int(there.sum()))
            if min(rows) >= LEAST:
                for variable, values in ours.variables.items():
                    found = distance(values[here], theirs.variables[variable][there])
                    yield Distance(name, variable, bin_, rows, *found)


def distance(reference: Floats, flash: Floats) -> tuple[float, float, tuple[float, float]]:
    """The last three attributes of `Distance`."""
    ours, theirs = np.sort(reference), np.sort(flash)
    both = np.concatenate([ours, theirs])
    below = [np.searchsorted(sample, both, side="right") / len(sample) for sample in (ours, theirs)]
    low, high = np.quantile(ours, [TAIL / 2, 1 - TAIL / 2])
    beyond = [float(((sample < low) | (sample > high)).mean()) for sample in (ours, theirs)]
    # The 95 % point of the distribution of Kolmogorov.
    expected = 1.358 * np.sqrt(1 / len(ours) + 1 / len(theirs))
    return float(np.abs(below[0] - below[1]).max()), float(expected), (beyond[0], beyond[1])


def correlations(reference: Variables, flash: Variables) -> Correlations:
    """Of all pairs of the variables."""
    names = [name for name, values in reference.items() if np.ptp(values) > 0 and np.ptp(flash[name]) > 0]
    matrices = [np.corrcoef([_ranks(side[name]) for name in names]) for side in (reference, flash)]
    ours, theirs = (tuple(tuple(float(value) for value in row) for row in matrix) for matrix in matrices)
    return Correlations(tuple(names), ours, theirs)


def pulls(pair: Pair) -> Iterator[Pull]:
    """Of long tracks, primary vertices and photons, over all and in bins."""
    for name, parameters in PULLED.items():
        if name not in pair.reference.groups:
            continue
        ours, theirs = (_pulled(side, name) for side in pair.sides)
        for bin_, here, there in _bins(ours, theirs):
            if min(here.sum(), there.sum()) >= LEAST:
                for parameter in parameters:
                    values = [group.variables[f"pull {parameter}"] for group in (ours, theirs)]
                    found = sigma68(values[1][there])
                    yield Pull(parameter, bin_, sigma68(values[0][here]), found, sigma68_error(found, int(there.sum())))


def _pulled(side: Side, name: str) -> Group:
    group = side.groups[name]
    rows = side.long if name == "track" else np.ones(len(group), dtype=bool)
    parts = [{name: values[rows] for name, values in part.items()} for part in (group.conditions, group.variables)]
    return Group(*parts)


def _bins(reference: Group, flash: Group) -> Iterator[tuple[Bin, Mask, Mask]]:
    """Bins, with the rows of both samples that are in them."""
    bins = [Bin()]
    for condition in BINNED:
        if condition in reference.conditions and len(reference):
            bins += Bin.of(condition, reference.conditions[condition], BINS)
    for bin_ in bins:
        yield (
            bin_,
            bin_.inside(reference.conditions, len(reference)),
            bin_.inside(flash.conditions, len(flash)),
        )


def _ranks(values: npt.NDArray[np.float64]) -> Floats:
    return np.searchsorted(np.sort(values), values, side="left").astype(np.float64)
