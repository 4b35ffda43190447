"""Oversampling: generated events that are simulated several times over, each time with random numbers of its own.

The generator takes nearly all of the time of a flash simulation, so its events are worth more than one pass. The copies
of an event are no independent events, though: they share what the generator drew. So each has a weight of 1 over
their number, and statistical errors of what the generator decides do not shrink.

Copies are told by their event number: copy k of event n has the number n + k * `APART`. Copy 0 is the event itself, and
what it becomes does not depend on how many copies there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flashlink.errors import wrong
from flashlink.flashsim.chunks import batches
from flashlink.flashsim.files import Columns
from flashlink.flashsim.samples import GENERATED

#: Between the numbers of an event and of its next copy: more than a production has events.
APART = 1 << 40

#: Copies at most: their event numbers have 64 bits.
MOST = 1 << 20

#: Column that a sample of copies has, and no other.
WEIGHT = {"weight": "float64"}  # 1 over the number of copies


def copy_of(generated: Columns, number: int) -> Columns:
    """Copy `number` of each event of a generated sample; 0 gives the sample itself.

    Raises:
        RequestError: An event has a number that copies need, or there are too many copies.
    """
    if not 0 <= number < MOST:
        raise wrong("copies of events", number, f"from 0 to {MOST - 1}")
    event = generated["event"]
    taken = np.flatnonzero((event < 0) | (event >= APART))
    if len(taken) and number:
        raise wrong("event number", int(event[taken[0]]), f"below {APART}, as events to be copied have")
    return generated | {"event": event + number * APART}


def original(event: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The numbers of the generated events that copies are of."""
    return event % APART


def copies(paths: Sequence[Path], times: int) -> Iterator[Columns]:
    """Read a generated sample `times` times over, piece by piece, as copies; memory holds one piece.

    Args:
        paths: Parquet files.
        times: Copies of each event; 1 reads the sample as it is.

    Yields:
        Pieces of whole events, ordered by event over all of them.
    """
    for number in range(times):
        # A loop would hold a piece while the next one is read: map does not.
        yield from map(partial(copy_of, number=number), batches(paths, GENERATED))
