"""Arrays in JSON.

An array is ``{"dtype": "<f4", "shape": [rows, columns], "zlib": "base64 of the deflated little-endian bytes"}``.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any, get_args, get_origin

import numpy as np


def pack(value: Any) -> dict[str, Any]:
    """What msgspec shall write for an array: an ``enc_hook``."""
    if not isinstance(value, np.ndarray):
        raise NotImplementedError(f"a field has type {type(value)}")
    little = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
    data = base64.b64encode(zlib.compress(little.tobytes(), 6)).decode()
    return {"dtype": little.dtype.str, "shape": value.shape, "zlib": data}


def unpack(wanted: Any, packed: Any) -> np.ndarray[Any, Any]:
    """The array again, checked against the type of its field: a ``dec_hook``.

    Raises:
        ValueError: It is not packed, or of another type.
    """
    if get_origin(wanted) is not np.ndarray:
        raise NotImplementedError(f"a field has type {wanted}")
    try:
        data = zlib.decompress(base64.b64decode(packed["zlib"], validate=True))
        array = np.frombuffer(data, dtype=packed["dtype"]).reshape(packed["shape"])
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise ValueError(f"not a packed array ({error})") from error
    (expected,) = get_args(get_args(wanted)[1])
    if array.dtype.newbyteorder("=") != np.dtype(expected):
        raise ValueError(f"an array of {array.dtype} where {np.dtype(expected)} belongs")
    return array
