"""Flights: how far particles flew before their decay, in units of what their lifetime says.

A particle of mass m and momentum p flies c tau p/m on the mean, whatever made it and wherever the beams crossed. So the
ratio of what is found to that is about one, in each of x, y and z, or lengths are in another unit than momenta say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.matching import rows_of
from flashlink.flashsim.parameterizations.condition import Floats, Integers

#: Mass in MeV and c tau in mm (PDG, as in the package ``particle``) of what decays weakly, by PDG number.
LIFETIMES = {
    15: (1776.93, 0.0870), 310: (497.611, 26.84), 411: (1869.66, 0.3098), 421: (1864.84, 0.1230),
    431: (1968.35, 0.1503), 511: (5279.72, 0.4531), 521: (5279.41, 0.4907), 531: (5366.93, 0.4541),
    541: (6274.47, 0.1528), 3112: (1197.449, 44.34), 3122: (1115.683, 78.46), 3222: (1189.37, 24.04),
    3312: (1321.71, 49.09), 3322: (1314.86, 86.93), 3334: (1672.45, 24.60), 4122: (2286.46, 0.0608),
    4132: (2470.5, 0.0449), 4232: (2467.79, 0.1358), 5122: (5619.57, 0.4392), 5132: (5797.0, 0.4721),
    5232: (5791.7, 0.4414),
}  # fmt: skip

#: Expected flights up to this, in mm, are looked at: longer ones end beyond what many samples keep.
LONGEST = 500.0

#: Flights below this share of where they are, in any unit, are rounding: a forced lifetime of zero.
_ROUNDING = 1e-5

#: Largest distance in MeV of the mass of particles of one place from that of what decayed into them.
_MASS = 2.0

_NUMBERS = np.array(sorted(LIFETIMES))
_MASSES, _LENGTHS = np.array([LIFETIMES[number] for number in _NUMBERS]).T

_MOMENTUM, _PLACE, _VERTEX = ("px", "py", "pz"), ("x", "y", "z"), ("pv_x", "pv_y", "pv_z")


@dataclass(frozen=True)
class Flights:
    """Decays; arrays have a row for each.

    Attributes:
        event: Number of the event.
        end: Where it was, shape (decays, 3).
        ratio: Of the flight in x, y and z to its expectation in mm, shape (decays, 3): exponential with mean 1 in the
            right unit.
        forward: Whether it flew along its momentum.
    """

    event: Integers
    end: Floats
    ratio: Floats
    forward: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, event: npt.ArrayLike, pdg: npt.ArrayLike, momentum: Floats, start: Floats, end: Floats) -> Flights:
        """Those of known species that have moved, and whose expected flight is within `LONGEST`.

        Args:
            event: Number of the event, shape (n,).
            pdg: What decayed.
            momentum: In MeV, shape (n, 3).
            start: Where it was made, shape (n, 3), in the unit of the sample.
            end: Where it decayed.
        """
        index = np.searchsorted(_NUMBERS, np.abs(pdg)).clip(max=len(_NUMBERS) - 1)
        expected = (_LENGTHS / _MASSES)[index, None] * momentum
        # What is not finite is for others to tell; it does not pass here.
        with np.errstate(invalid="ignore", over="ignore"):
            flight = end - start
            long = np.linalg.norm(expected, axis=1)
            far = np.maximum(np.abs(start).max(axis=1), np.abs(end).max(axis=1))
            moved = np.linalg.norm(flight, axis=1) > _ROUNDING * far
        rows = np.flatnonzero((_NUMBERS[index] == np.abs(pdg)) & moved & (long > 0) & (long < LONGEST))
        flight, expected = flight[rows], expected[rows]
        ratio = np.divide(np.abs(flight), np.abs(expected), out=np.full(flight.shape, np.nan), where=expected != 0)
        forward = np.einsum("ni,ni->n", flight, expected) > 0
        return cls(np.asarray(event, dtype=np.int64)[rows], end[rows], ratio, forward)

    @classmethod
    def joined(cls, parts: list[Flights]) -> Flights:
        """All decays of several."""
        return cls(
            **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)}
        )

    @classmethod
    def none(cls) -> Flights:
        """Of no particle."""
        return cls(np.zeros(0, dtype=np.int64), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0, dtype=bool))

    def distinct(self) -> Flights:
        """Without those that come again, as in events that are used several times."""
        rows = np.sort(np.unique(self.ratio, axis=0, return_index=True, equal_nan=True)[1])
        return Flights(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def __len__(self) -> int:
        """The number of decays."""
        return len(self.event)


def of_chains(columns: Mapping[str, npt.NDArray[Any]]) -> Flights:
    """Of the particles of a generated sample that have a daughter in it."""
    daughter = np.flatnonzero(columns["mother"] >= 0)
    names = ("event", "mother", "event", "particle")
    event, number, events, numbers = (columns[name] for name in names)
    mother = rows_of(event[daughter], number[daughter], events, numbers)
    # A copy of itself is no decay.
    pdg = np.abs(columns["pdg"])
    decay = (mother >= 0) & (pdg[mother] != pdg[daughter])
    daughter, mother = daughter[decay], mother[decay]
    place = _stacked(columns, _PLACE)
    # What lies between may have been left out: the nearest daughter is that of the particle itself.
    order = np.lexsort((np.linalg.norm(place[daughter] - place[mother], axis=1), mother))
    first = np.flatnonzero(np.diff(mother[order], prepend=-1))
    daughter, mother = daughter[order][first], mother[order][first]
    return Flights.of(
        event[mother], columns["pdg"][mother], _stacked(columns, _MOMENTUM)[mother], place[mother], place[daughter]
    )


def of_vertices(columns: Mapping[str, npt.NDArray[Any]]) -> Flights:
    """Of what is not in a generated sample, but whose products are: particles of one place that have its mass."""
    place, vertex = _stacked(columns, _PLACE), _stacked(columns, _VERTEX)
    orphan = (columns["stable"] != 0) & (columns["mother"] < 0)
    rows = np.flatnonzero((place != vertex).any(axis=1) & orphan)
    rows = rows[np.lexsort((*place[rows].T, columns["event"][rows]))]
    if not len(rows):
        return Flights.none()
    apart = (np.diff(place[rows], axis=0) != 0).any(axis=1) | (np.diff(columns["event"][rows]) != 0)
    first = np.flatnonzero(np.append(True, apart))
    total = np.add.reduceat(_stacked(columns, ("energy", *_MOMENTUM))[rows], first)
    together = np.diff(first, append=len(rows)) > 1
    mass = np.sqrt(np.maximum(total[:, 0] ** 2 - np.square(total[:, 1:]).sum(axis=1), 0))
    distance = np.abs(mass[:, None] - _MASSES)
    pdg = np.where(together & (distance.min(axis=1) < _MASS), _NUMBERS[distance.argmin(axis=1)], 0)
    at = rows[first]
    return Flights.of(columns["event"][at], pdg, total[:, 1:], vertex[at], place[at])


def _stacked(columns: Mapping[str, npt.NDArray[Any]], names: tuple[str, ...]) -> Floats:
    return np.stack([np.asarray(columns[name], dtype=np.float64) for name in names], axis=1)
