"""Libraries of training vectors: what a particle may take is what particles of its class and near to it had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import Floats, Integers
from flashlink.flashsim.parameterizations.counts import count

#: More than the range of log10 p, so that the rows of one box come before those of the next.
_APART = 16.0


@dataclass(frozen=True)
class Library:
    """Which rows of a table of training vectors may stand for a particle: those nearest in momentum in its box.

    A box is a class and some merged cells of the other variables. Its rows lie together, ordered by momentum, so a
    threshold in momentum is blurred by a few neighbours only. A class too small to stand alone has the boxes of the
    class that `fit` was told to fall back to.

    Attributes:
        first: First row of the box of each cell, shape (classes, cells…).
        size: Its number of rows, the same shape.
        log_p: log10 of the momentum in MeV of each row.
        window: Rows that a particle chooses from.
    """

    first: npt.NDArray[np.int32]
    size: npt.NDArray[np.int32]
    log_p: npt.NDArray[np.float32]
    window: int

    @classmethod
    def fit(
        cls, classes: Integers, log_p: Floats, cells: tuple[Integers, ...], shape: tuple[int, ...], fallback: Integers,
        *, window: int, least: int, most: int, sides: tuple[float, ...],
    ) -> tuple[Library, Integers]:  # fmt: skip
        """Build the library of training vectors.

        Args:
            classes: Class of each vector.
            log_p: log10 of its momentum in MeV, from 0 to 16.
            cells: Its cell, an index for each axis.
            shape: Number of bins of each axis.
            fallback: For each class the class whose vectors serve it while it has fewer than `window`; itself for none.
            window: Rows that a particle chooses from.
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
            if len(rows) < (1 if fallback[number] == number else window):
                continue
            where = tuple(axis[rows] for axis in cells)
            boxes = merged_cells(count(shape, *where).astype(np.int64), least, sides)
            box = boxes[where]
            sizes = np.bincount(box)
            first[number] = start + (np.cumsum(sizes) - sizes)[boxes]
            size[number] = sizes[boxes]
            kept.append(rows[np.lexsort((log_p[rows], box))])
            start += len(rows)
        for number, other in enumerate(fallback):
            if not size[number].any():
                first[number], size[number] = first[other], size[other]
        order = np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)
        return cls(first, size, log_p[order].astype(np.float32), window), order

    def draw(self, classes: Integers, log_p: Floats, cells: tuple[Integers, ...], uniform: Floats) -> Integers:
        """A row for each particle, all of its window alike likely; -1 where neither class nor fallback had training."""
        where = (classes, *cells)
        first, size = self.first[where].astype(np.int64), self.size[where].astype(np.int64)
        window = np.minimum(size, self.window)
        # In single precision, as the rows have it, so that equal momenta are equal.
        nearest = np.searchsorted(self._keys, _APART * first + np.clip(log_p.astype(np.float32), 0, _APART))
        begin = np.clip(nearest - window // 2, first, first + size - window)
        return np.where(size > 0, begin + (uniform * window).astype(np.int64), -1)

    @cached_property
    def _keys(self) -> Floats:
        """Numbers that increase over all rows: by box, then by momentum."""
        starts = np.unique(self.first[self.size > 0])
        box = starts[np.searchsorted(starts, np.arange(len(self.log_p)), side="right") - 1]
        return np.asarray(_APART * box + self.log_p)


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


def thinned(rows: Integers, most: int) -> Integers:
    """At most `most` of `rows`, evenly spaced."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
