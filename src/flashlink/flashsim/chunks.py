"""Samples that come as several files, one a chunk of the production, read event by event or all at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flashlink.errors import RequestError
from flashlink.flashsim.files import Columns, parts


def batches(paths: Sequence[Path], schema: Mapping[str, str]) -> Iterator[Columns]:
    """Read samples piece by piece, each of whole events; memory holds about one row group at a time.

    Args:
        paths: Parquet files, in any order.
        schema: Columns to read, with ``event``, and their types.

    Yields:
        Tables with at least one row, ordered by event whatever the order of `paths`.

    Raises:
        RequestError: A file cannot be read, its events are not in order, two files have an event in common, or there is
            not one row.
    """
    before: tuple[Path, int] | None = None
    for first, path in sorted(_first_events(paths), key=lambda item: item[0]):
        if before is not None and first <= before[1]:
            raise RequestError(
                f"{path}: event {first} comes again, or overlaps with {before[0]} (to {before[1]}); "
                "give each chunk once"
            )
        for columns in whole_events(parts(path, schema), str(path)):
            before = path, int(columns["event"][-1])
            yield columns
            del columns  # before the next one is read
    if before is None:
        raise RequestError(f"{', '.join(str(path) for path in paths)}: no rows; a sample needs at least one")


def read_chunks(
    paths: Sequence[Path], schema: Mapping[str, str], events: npt.NDArray[np.int64] | None = None
) -> Columns:
    """Read samples into one table, ordered by event whatever the order of `paths`.

    Args:
        paths: Parquet files.
        schema: Columns to read and their types.
        events: Numbers of the events to keep, in increasing order; all by default.

    Raises:
        RequestError: As for `batches`.
    """
    kept = [columns if events is None else _of_events(columns, events) for columns in batches(paths, schema)]
    return {name: np.concatenate([columns[name] for columns in kept]) for name in schema}


def event_numbers(paths: Sequence[Path]) -> npt.NDArray[np.int64]:
    """The numbers of the events that have a row, in increasing order; errors are those of `batches`."""
    return np.concatenate([np.unique(columns["event"]) for columns in batches(paths, {"event": "int64"})])


def digests(paths: Sequence[Path]) -> tuple[str, ...]:
    """sha256 of each file."""
    found = []
    for path in paths:
        with path.open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return tuple(found)


def _first_events(paths: Sequence[Path]) -> Iterator[tuple[int, Path]]:
    """Number of the first event of each file that has any."""
    for path in paths:
        for columns in parts(path, {"event": "int64"}):
            if len(columns["event"]):
                yield int(columns["event"][0]), path
                break


def whole_events(pieces: Iterable[Columns], place: str) -> Iterator[Columns]:
    """Cut a sample that comes in pieces between events only.

    Args:
        pieces: Tables with the same columns.
        place: The files, for the message.

    Raises:
        RequestError: Events are not in increasing order.
    """
    rest: Columns = {}
    row = 0
    for part in pieces:
        columns = {name: np.concatenate([rest[name], part[name]]) if rest else part[name] for name in part}
        del part
        event = columns["event"]
        disorder = np.flatnonzero(event[1:] < event[:-1])
        if len(disorder):
            raise RequestError(
                f"{place}: row {row + disorder[0] + 1}: events are not in increasing order; sort it by event"
            )
        cut = int(np.searchsorted(event, event[-1])) if len(event) else 0
        row += cut
        # Copied, since a view would hold the whole piece while the next one is read.
        rest = {name: column[cut:].copy() for name, column in columns.items()}
        if cut:
            yield {name: column[:cut] for name, column in columns.items()}
        del columns, event
    if rest and len(rest["event"]):
        yield rest


def _of_events(columns: Columns, events: npt.NDArray[np.int64]) -> Columns:
    inside = np.isin(columns["event"], events)
    return {name: column[inside] for name, column in columns.items()}
