"""Samples that come as several files, one a chunk of the production."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from flashlink.errors import RequestError
from flashlink.flashsim.files import Columns, read


def read_chunks(paths: Sequence[Path], schema: Mapping[str, str]) -> Columns:
    """Read chunks into one table, ordered by event whatever the order of `paths`.

    Raises:
        RequestError: A chunk cannot be read, its events are not in order, or two chunks have an event in common.
    """
    chunks: list[tuple[Path, Columns]] = []
    for path in paths:
        columns = read(path, schema)
        disorder = np.flatnonzero(columns["event"][1:] < columns["event"][:-1])
        if len(disorder):
            raise RequestError(
                f"{path}: row {disorder[0] + 1}: events are not in increasing order; make the sample again"
            )
        if len(columns["event"]):
            chunks.append((path, columns))
    if not chunks:
        raise RequestError(f"{', '.join(str(path) for path in paths)}: no rows; a sample needs at least one")
    chunks.sort(key=lambda chunk: int(chunk[1]["event"][0]))
    for (before, earlier), (after, later) in pairwise(chunks):
        first, last = later["event"][0], earlier["event"][-1]
        if first <= last:
            raise RequestError(
                f"{after}: event {first} comes again, or overlaps with {before} (to {last}); give each chunk once"
            )
    return {name: np.concatenate([columns[name] for _, columns in chunks]) for name in schema}


def digests(paths: Sequence[Path]) -> tuple[str, ...]:
    """sha256 of each file."""
    return tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
