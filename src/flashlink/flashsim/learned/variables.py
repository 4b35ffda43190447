"""The variables that a chain draws one after the other, and how they look inside of it.

A variable either is one of a few classes, or continuous. A continuous one is mapped so that, over the whole training,
it is distributed as a logistic variable: quantile to quantile, linear between and beyond. It may be absent, by the
class that was drawn before: a likelihood of a detector that the track never reached.
"""

from __future__ import annotations

from functools import cached_property

import msgspec
import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import Floats

#: Quantiles to which a continuous variable is mapped; the outermost keep 1 in 10,000 beyond.
_QUANTILES = 1 / (1 + np.exp(-np.linspace(-9.21, 9.21, 65)))


class Classes(msgspec.Struct, frozen=True, tag="classes", forbid_unknown_fields=True):
    """A variable with few values.

    Attributes:
        name: Its name.
        values: They, in increasing order.
    """

    name: str
    values: tuple[float, ...]

    @classmethod
    def of(cls, name: str, values: Floats) -> Classes:
        """With the values that a training sample has."""
        return cls(name, tuple(np.unique(values).tolist()))

    def encode(self, values: Floats) -> Floats:
        """Indices of values; of others, that of the next larger one."""
        return np.minimum(np.searchsorted(self.values, values), len(self.values) - 1).astype(np.float64)

    def decode(self, inside: Floats) -> Floats:
        """Values of indices."""
        return np.asarray(self.values)[inside.astype(np.int64)]


class Lines:
    """A function that is linear from one of its points to the next, and beyond the ends as in the outermost pieces.

    A table of even cells leads to the piece that a value is in: thrice as fast as bisection.

    Args:
        places: Where the points are, increasing.
        values: Of the function there.
    """

    _CELLS = 4096

    def __init__(self, places: Floats, values: Floats) -> None:
        self._places, self._values, self._slopes = places, values, np.diff(values) / np.diff(places)
        self._scale = self._CELLS / (places[-1] - places[0])
        cells = self._cell(places)
        # The piece that a cell begins in, and how many points a cell may have: so often one goes on to the next piece.
        first = np.clip(np.searchsorted(cells, np.arange(self._CELLS)) - 1, 0, len(places) - 2)
        # Small numbers: models have hundreds of such tables.
        self._first = first.astype(np.int16)
        self._most = int(np.bincount(cells).max())
        self._next = np.append(places[1:-1], np.inf)

    def __call__(self, places: Floats) -> Floats:
        """Values of the function."""
        piece = self._first[self._cell(places)].astype(np.int64)
        for _ in range(self._most):
            piece += places >= self._next[piece]
        found: Floats = places - self._places[piece]
        found *= self._slopes[piece]
        found += self._values[piece]
        return found

    def _cell(self, places: Floats) -> npt.NDArray[np.int64]:
        cells: npt.NDArray[np.int64] = ((places - self._places[0]) * self._scale).astype(np.int64)
        # Many short arrays come here, for which np.clip takes several times as long.
        np.maximum(cells, 0, out=cells)
        return np.minimum(cells, self._CELLS - 1, out=cells)


class Curve(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """An increasing map, linear from one of its points to the next, and beyond the ends as in the outermost pieces.

    Attributes:
        knots: Values of increasing size.
        places: What they are mapped to, increasing.
    """

    knots: tuple[float, ...]
    places: tuple[float, ...]

    @classmethod
    def of(cls, values: Floats) -> Curve:
        """From the quantiles of a sample to those of a logistic distribution."""
        knots = np.quantile(values, _QUANTILES)
        places = np.log(_QUANTILES / (1 - _QUANTILES))
        # Quantiles that are too close to tell apart merge into one in the middle of their places.
        least = 1e-6 * max(float(np.ptp(knots)), 1e-12)
        group = np.cumsum(np.diff(knots, prepend=knots[0]) > least)
        middle = np.bincount(group, weights=places) / np.bincount(group)
        first = knots[np.searchsorted(group, np.arange(len(middle)))]
        if len(first) == 1:
            first, middle = np.array([first[0], first[0] + 1]), np.array([0.0, 1.0])
        return cls(tuple(first.tolist()), tuple(middle.tolist()))

    def encode(self, values: Floats) -> Floats:
        """From knots to places."""
        knots, places = np.array(self.knots), np.array(self.places)
        inside: Floats = np.interp(values, knots, places)
        for end, inner, beyond in ((0, 1, values < knots[0]), (-1, -2, values > knots[-1])):
            slope = (places[end] - places[inner]) / (knots[end] - knots[inner])
            inside[beyond] = places[end] + slope * (values[beyond] - knots[end])
        return inside

    def decode(self, inside: Floats) -> Floats:
        """From places to knots."""
        return self._decoded(inside)

    @cached_property
    def _decoded(self) -> Lines:
        return Lines(np.array(self.places), np.array(self.knots))


class Apart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Slices in which the variables of a chain are mapped by curves of their own.

    Attributes:
        name: Of what is sliced: a column of the condition, or a variable of classes.
        begins: Where the slices begin, increasing; what is below the first belongs to it.
    """

    name: str
    begins: tuple[float, ...]


class Continuous(msgspec.Struct, frozen=True, tag="continuous", forbid_unknown_fields=True):
    """A variable with a density.

    Attributes:
        name: Its name.
        curve: From its values to what the network answers.
        ends: The least and the largest value of the training: none is drawn beyond.
        when: Name of a variable of classes before it on which it depends whether this one is there; "" if it always is.
        present: For each of those classes, whether it is there.
        apart: By the number of a kind of rows, the curve from the inside to values; of other kinds it is `curve`.
    """

    name: str
    curve: Curve
    ends: tuple[float, float]
    when: str = ""
    present: tuple[bool, ...] = ()
    apart: dict[int, Curve] = {}

    @classmethod
    def of(cls, name: str, values: Floats, when: str = "", present: tuple[bool, ...] = ()) -> Continuous:
        """Mapped by the quantiles of a training sample; of rows where it is there."""
        return cls(name, Curve.of(values), (float(values.min()), float(values.max())), when, present)

    def encode(self, values: Floats) -> Floats:
        """From values to the inside."""
        return self.curve.encode(values)

    def decode(self, inside: Floats, kind: int = 0) -> Floats:
        """From the inside to values, for rows of one kind."""
        found = self.apart.get(kind, self.curve).decode(inside)
        least, most = self.ends
        np.maximum(found, least, out=found)
        return np.minimum(found, most, out=found)


Variable = Classes | Continuous
