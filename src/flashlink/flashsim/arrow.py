"""Columns of Arrow from and to numpy, by their buffers.

Arrow's own conversions import pandas wherever it is installed: that takes a quarter of a second and 35 MB, and a Ctrl-C
while it happens is lost.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

# Arrow's own pool keeps 30 MB more for itself than the system's; who wants it says so by this variable of Arrow's.
if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
    pa.set_memory_pool(pa.system_memory_pool())

#: Rows that are written, and read, at once.
ROWS = 131_072

#: Bytes of each column that are read ahead; otherwise a whole row group is, and the files of others have large ones.
_AHEAD = 1 << 17


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file, of which little is in memory: for `tables`."""
    with pq.ParquetFile(path, buffer_size=_AHEAD, pre_buffer=False) as file:
        yield file


def tables(file: pq.ParquetFile, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a file in the pieces that it was written in, its row groups, none of more than `ROWS`."""
    names = None if columns is None else list(columns)
    for group in range(file.num_row_groups):
        # Threads would keep memory of their own. A loop would hold a piece while the next one is read: map does not.
        batches = file.iter_batches(ROWS, row_groups=[group], columns=names, use_threads=False)
        yield from map(_table, batches)


def _table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])


def release_unused() -> None:
    """Give back what pieces of a sample left free: the next ones may not fit into the holes, and memory grows."""
    pa.default_memory_pool().release_unused()


def to_numpy(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """The values of a column; with a null in it, or of another type than numbers, as Arrow itself gives them."""
    booleans = pa.types.is_boolean(column.type)
    if column.null_count or not (booleans or pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return np.asarray(column.to_numpy())
    values = np.from_dlpack((column.cast(pa.uint8()) if booleans else column).combine_chunks())
    return np.array(values, dtype=bool if booleans else None)


def schema_of(types: Mapping[str, str], noted: Mapping[bytes, str] | None = None) -> pa.Schema:
    """The schema of columns of these numpy types, with metadata."""
    fields = [(name, pa.from_numpy_dtype(np.dtype(dtype))) for name, dtype in types.items()]
    return pa.schema(fields, metadata=noted)


def to_table(columns: Mapping[str, npt.NDArray[Any]], schema: pa.Schema) -> pa.Table:
    """A table of contiguous arrays whose types are those of the schema."""
    arrays = []
    for field in schema:
        values = columns[field.name]
        bits = np.packbits(values, bitorder="little") if values.dtype.kind == "b" else values
        arrays.append(pa.Array.from_buffers(field.type, len(values), [None, pa.py_buffer(bits)]))
    return pa.Table.from_arrays(arrays, schema=schema)
