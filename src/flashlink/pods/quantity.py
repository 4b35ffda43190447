"""Kubernetes quantities: ``500m``, ``1.5Gi``, ``1e3``, ``100M``, 2.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from flashlink.errors import wrong

_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d{1,3})|([KMGTPE]i|[numkMGTPE]))?", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_LONGEST = 64


def cores(value: str | float | None, place: str) -> float:
    """A quantity of CPU in cores: ``500m`` is 0.5. None is 0, "not said".

    Raises:
        RequestError: It is not a quantity, or negative, or above 2**63; names `place`.
    """
    return float(_number(value, place, "a number of cores as '2' or '500m'"))


def size(value: str | float | None, place: str) -> int:
    """A quantity of memory or disk in bytes, rounded up to a whole byte as Kubernetes does. None is 0, "not said".

    Raises:
        RequestError: It is not a quantity, or negative, or above 2**63; names `place`.
    """
    return math.ceil(_number(value, place, "a size in bytes as '512Mi' or '2G'"))


def count(value: str | float | None, place: str) -> int:
    """A quantity of whole things, as GPUs. None is 0.

    Raises:
        RequestError: As for `cores`, or it is not whole.
    """
    number = _number(value, place, "a whole number of devices")
    if number != int(number):
        raise wrong(place, value, "a whole number of devices")
    return int(number)


def shown(size: int) -> str:
    """A size in bytes as Kubernetes writes it: with the largest binary suffix that leaves it whole.

    >>> shown(1536 * 1024), shown(1000)
    ('1536Ki', '1000')
    """
    suffix = next((each for each in reversed(_BINARY) if size and size % 2 ** _BINARY[each] == 0), "")
    return f"{size >> _BINARY.get(suffix, 0)}{suffix}"


def _number(value: str | float | None, place: str, expected: str) -> Decimal:
    if value is None:
        return Decimal(0)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise wrong(place, value, expected)
    text = str(value)
    match = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise wrong(place, value, expected)
    digits, exponent, suffix = match.groups()
    number = Decimal(digits)
    if exponent:
        number = number.scaleb(int(exponent))
    elif suffix in _DECIMAL:
        number = number.scaleb(_DECIMAL[suffix])
    elif suffix:
        number *= 2 ** _BINARY[suffix]
    if not 0 <= number < 2**63:
        raise wrong(place, value, expected)
    return number
