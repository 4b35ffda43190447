"""Binnings: axes that interpolate by chance, counts that borrow from their neighbours, libraries with merged cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from flashlink.flashsim.parameterizations.condition import Condition, Floats, Integers


@dataclass(frozen=True)
class Axis:
    """Bins of one variable; values beyond the ends belong to the first and last bin.

    Attributes:
        name: The variable, with its unit if it has one.
        edges: Increasing edges; one more than bins.
    """

    name: str
    edges: tuple[float, ...]

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self.edges) - 1

    def locate(self, values: Floats) -> Integers:
        """The bin of each value."""
        return np.clip(np.searchsorted(self.edges, values, side="right") - 1, 0, self.bins - 1)

    def interpolate(self, values: Floats, uniform: Floats) -> Integers:
        """One of the two bins whose centres enclose each value, the nearer one with the larger probability.

        What is then looked up bin by bin is, on average over `uniform`, interpolated linearly between bin centres: a
        probability and a whole distribution alike.
        """
        edges = np.asarray(self.edges)
        centres = (edges[:-1] + edges[1:]) / 2
        position = np.interp(values, centres, np.arange(self.bins))
        return np.floor(position + uniform).astype(np.int64).clip(0, self.bins - 1)

    @classmethod
    def uniform(cls, name: str, values: Floats, width: float) -> Axis:
        """Bins of about equal `width` from the least to the largest of `values`."""
        low, high = float(values.min()), float(values.max())
        bins = max(1, round((high - low) / width))
        return cls(name, tuple(float(edge) for edge in np.linspace(low, high, bins + 1)))

    @classmethod
    def quantiles(cls, name: str, values: Floats, fractions: Sequence[float]) -> Axis:
        """Bins between the quantiles of `values` at `fractions` (which are inner edges); equal quantiles merge."""
        edges = np.unique([values.min(), *np.quantile(values, fractions), np.nextafter(values.max(), np.inf)])
        return cls(name, tuple(float(edge) for edge in edges))


@dataclass(frozen=True)
class Grid:
    """The cells in momentum and pseudorapidity, with slices in origin and multiplicity, that the tables share.

    Attributes:
        log_p: log10 of the momentum in MeV.
        eta: Pseudorapidity.
        origin: z of the production vertex; most particles are in the first slice, decay products in the others.
        multiplicity: Charged particles of the event.
    """

    log_p: Axis
    eta: Axis
    origin: Axis
    multiplicity: Axis

    @classmethod
    def fit(cls, condition: Condition) -> Grid:
        """A grid that covers the tracks of the training: 0.05 in log10 p, 0.25 in eta, slices by quantiles."""
        return cls(
            log_p=Axis.uniform("log10(p/MeV)", condition.log_p, 0.05),
            eta=Axis.uniform("eta", condition.eta, 0.25),
            origin=Axis.quantiles("origin z [mm]", condition.origin_z, (0.90, 0.925, 0.95, 0.975)),
            multiplicity=Axis.quantiles("multiplicity", condition.multiplicity, (0.25, 0.5, 0.75)),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Bins in log_p and eta."""
        return self.log_p.bins, self.eta.bins

    def accepts(self, condition: Condition) -> npt.NDArray[np.bool_]:
        """Where tracks can be: beyond its edges in eta and below its least momentum, training had not one."""
        eta = (condition.eta >= self.eta.edges[0]) & (condition.eta <= self.eta.edges[-1])
        return np.asarray(eta & (condition.log_p >= self.log_p.edges[0]))

    def locate(self, condition: Condition) -> Cells:
        """The cells that the particles fall into: what training counts."""
        return Cells(
            self.log_p.locate(condition.log_p),
            self.eta.locate(condition.eta),
            self.origin.locate(condition.origin_z),
            self.multiplicity.locate(condition.multiplicity),
        )

    def interpolate(self, condition: Condition, uniform: Floats) -> Cells:
        """The cells to look particles up in, by chance between neighbours in log_p and eta.

        Args:
            condition: The particles.
            uniform: Random numbers in [0, 1), shape (2, particles).
        """
        return Cells(
            self.log_p.interpolate(condition.log_p, uniform[0]),
            self.eta.interpolate(condition.eta, uniform[1]),
            self.origin.locate(condition.origin_z),
            self.multiplicity.locate(condition.multiplicity),
        )


@dataclass(frozen=True)
class Cells:
    """Indices of bins on the axes of a `Grid`; all of shape (particles,)."""

    log_p: Integers
    eta: Integers
    origin: Integers
    multiplicity: Integers

    def __getitem__(self, rows: npt.NDArray[Any]) -> Cells:
        """The cells of some of the particles."""
        return Cells(self.log_p[rows], self.eta[rows], self.origin[rows], self.multiplicity[rows])


def count(shape: Sequence[int], *indices: Integers) -> Floats:
    """How many particles have each combination of `indices`: a histogram of `shape`."""
    flat = np.ravel_multi_index(indices, tuple(shape))
    return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)


def shrink(counts: Floats, pools: Sequence[tuple[int, ...]], cells: tuple[int, int], strength: float) -> Floats:
    """Probabilities of the outcomes along the last axis, from few counts: each level is the prior of the next.

    The levels are the counts summed over the axes of each of `pools`, smoothed over neighbouring cells; then the
    counts of each cell alone. A level with N counts moves the probability from the one above by N / (N + strength):
    the posterior mean of a Dirichlet prior whose weight is `strength` counts.

    Args:
        counts: Shape (…, outcomes).
        pools: For each level, from coarse to fine, the axes to sum over.
        cells: The two axes of (log_p, eta), smoothed with a width of one bin.
        strength: Weight of each prior, in counts.
    """
    # The coarsest level has no prior, so that an outcome that training never had stays impossible.
    probability: Floats = counts.sum(axis=tuple(range(counts.ndim - 1))) / counts.sum()
    sigma = [1.0 if axis in cells else 0.0 for axis in range(counts.ndim)]
    for pool in pools:
        pooled = counts.sum(axis=pool, keepdims=True)
        widths = [0.0 if axis in pool else width for axis, width in enumerate(sigma)]
        # A smoothed count is a mean over neighbours; what it is worth is their sum.
        worth = np.prod([2 * np.sqrt(np.pi) * width for width in widths if width])
        probability = _update(worth * gaussian_filter(pooled, widths, mode="nearest"), probability, strength)
    return _update(counts, probability, strength)


def _update(counts: Floats, prior: Floats, strength: float) -> Floats:
    return np.asarray((counts + strength * prior) / (counts.sum(axis=-1, keepdims=True) + strength))


def merged_cells(counts: npt.NDArray[np.int64], least: int, sides: tuple[float, ...]) -> Integers:
    """Merge neighbouring cells of a histogram into boxes with at least `least` entries each.

    The histogram is cut in two across its longest side, at the edge that halves its entries best, over and over, while
    both halves have enough. `sides` are the lengths of a cell along each axis: the longer, the finer it is cut.

    Returns:
        The number of the box of each cell, in the shape of `counts`; boxes count from 0.
    """
    boxes = np.zeros(counts.shape, dtype=np.int64)
    for number, box in enumerate(_boxes(counts, tuple(slice(0, bins) for bins in counts.shape), least, sides)):
        boxes[box] = number
    return boxes


def _boxes(
    counts: npt.NDArray[np.int64], box: tuple[slice, ...], least: int, sides: tuple[float, ...]
) -> Iterator[tuple[slice, ...]]:
    longest, axis, edge = 0.0, -1, 0
    for candidate in range(counts.ndim):
        others = tuple(other for other in range(counts.ndim) if other != candidate)
        below = np.cumsum(counts[box].sum(axis=others))
        smaller = np.minimum(below, below[-1] - below)
        length = sides[candidate] * len(below)
        if smaller.max() >= least and length > longest:
            longest, axis, edge = length, candidate, box[candidate].start + int(smaller.argmax()) + 1
    if axis < 0:
        yield box
        return
    for half in (slice(box[axis].start, edge), slice(edge, box[axis].stop)):
        yield from _boxes(counts, (*box[:axis], half, *box[axis + 1 :]), least, sides)


@dataclass(frozen=True)
class Library:
    """Which rows of a table of training vectors may stand for a particle, by class and cell.

    Rows of one merged cell lie together, so a cell is an offset and a size. A class too small to stand alone has the
    boxes of the class that `fit` was told to fall back to.

    Attributes:
        first: First row of the box of each cell, shape (classes, cells…).
        size: Its number of rows, the same shape.
    """

    first: npt.NDArray[np.int32]
    size: npt.NDArray[np.int32]

    @classmethod
    def fit(
        cls, classes: Integers, cells: tuple[Integers, ...], shape: tuple[int, ...], fallback: Integers,
        *, least: int, most: int, sides: tuple[float, ...],
    ) -> tuple[Library, Integers]:  # fmt: skip
        """Build the library of training vectors.

        Args:
            classes: Class of each vector.
            cells: Its cell, an index for each axis.
            shape: Number of bins of each axis.
            fallback: For each class the class whose vectors serve it while it has fewer than `least`; itself for none.
            least: Vectors in a box, at least.
            most: Vectors of a class, at most; more are thinned evenly.
            sides: Of `merged_cells`.

        Returns:
            The library, and the rows of the training sample that make its table, in order.
        """
        first = np.zeros((len(fallback), *shape), dtype=np.int32)
        size = np.zeros_like(first)
        kept: list[Integers] = []
        start = 0
        for number in range(len(fallback)):
            rows = thinned(np.flatnonzero(classes == number), most)
            if len(rows) < (1 if fallback[number] == number else least):
                continue
            where = tuple(axis[rows] for axis in cells)
            boxes = merged_cells(count(shape, *where).astype(np.int64), least, sides)
            box = boxes[where]
            sizes = np.bincount(box)
            first[number] = start + (np.cumsum(sizes) - sizes)[boxes]
            size[number] = sizes[boxes]
            kept.append(rows[np.argsort(box, kind="stable")])
            start += len(rows)
        for number, other in enumerate(fallback):
            if not size[number].any():
                first[number], size[number] = first[other], size[other]
        return cls(first, size), np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)

    def draw(self, classes: Integers, cells: tuple[Integers, ...], uniform: Floats) -> Integers:
        """A row for each particle, all of its box alike likely; -1 where neither class nor fallback was in training."""
        where = (classes, *cells)
        size = self.size[where]
        return np.where(size > 0, self.first[where] + (uniform * size).astype(np.int64), -1)


def thinned(rows: Integers, most: int) -> Integers:
    """At most `most` of `rows`, evenly spaced."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
