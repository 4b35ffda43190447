"""Joins by event number, and by event and particle number, without a loop over events."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flashlink.flashsim.parameterizations.condition import Integers

Column = npt.NDArray[Any]


def rows_of(event: Column, particle: Column, events: Column, particles: Column) -> Integers:
    """Find each (event, particle) in a table.

    Args:
        event: Event numbers to look for, shape (n,).
        particle: Particle numbers to look for, shape (n,).
        events: Event numbers of the table, shape (m,).
        particles: Particle numbers of the table, shape (m,).

    Returns:
        The row of the table for each pair (the first one where there are several), -1 where it has none; shape (n,).
    """
    if len(events) == 0:
        return np.full(len(event), -1, dtype=np.int64)
    numbers = np.unique(events)
    width = int(particles.max()) + 2
    keys = np.searchsorted(numbers, events) * width + particles.astype(np.int64) + 1
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    index = np.searchsorted(numbers, event).clip(max=len(numbers) - 1)
    wanted = index * width + particle.astype(np.int64) + 1
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    found = (numbers[index] == event) & (particle < width - 1) & (keys[place] == wanted)
    return np.where(found, order[place], -1)


def pairs(left: Column, right: Column) -> tuple[Integers, Integers]:
    """Every combination of a left and a right row of the same event.

    Args:
        left: Event number of each left row, shape (n,).
        right: Event number of each right row, shape (m,), in increasing order.

    Returns:
        Left and right rows of the pairs, ordered by left row, then by right row.
    """
    first = np.searchsorted(right, left, side="left")
    partners = np.searchsorted(right, left, side="right") - first
    lefts = np.repeat(np.arange(len(left)), partners)
    number = np.arange(len(lefts)) - np.repeat(np.cumsum(partners) - partners, partners)
    return lefts, np.repeat(first, partners) + number


def first_rows(event: Column) -> Integers:
    """The first row of each event of a sample that is ordered by event."""
    return np.flatnonzero(np.append(True, event[1:] != event[:-1])) if len(event) else np.zeros(0, dtype=np.int64)
