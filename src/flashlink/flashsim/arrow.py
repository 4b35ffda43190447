"""Columns of Arrow from and to numpy, by their buffers.

Arrow's own conversions import pandas wherever it is installed: that takes a quarter of a second and 35 MB, and a Ctrl-C
while it happens is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


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
