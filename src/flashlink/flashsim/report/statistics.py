"""Binned efficiencies and resolutions with their errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from hist.intervals import clopper_pearson_interval

from flashlink.flashsim.report.drawing import Points
from flashlink.flashsim.report.fits import sigma68, sigma68_error

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Entries below which a bin shows no resolution.
LEAST = 20


def efficiency(values: Floats, passed: Mask, edges: Floats) -> Points:
    """Share of the entries of each bin that passed, with Clopper-Pearson intervals of 68 %."""
    total = np.histogram(values, edges)[0]
    number = np.histogram(values[passed], edges)[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, number / total, np.nan)
        low, high = clopper_pearson_interval(number.astype(float), total.astype(float))
    empty = np.where(total > 0, 0.0, np.nan)
    return Points(share, share - np.nan_to_num(low) + empty, np.nan_to_num(high, nan=1) - share + empty)


def resolution(values: Floats, residuals: Floats, edges: Floats) -> Points:
    """Half-width of the central 68 % of the residuals of each bin."""
    return _profile(values, residuals, edges, sigma68, sigma68_error)


def median(values: Floats, quantity: Floats, edges: Floats) -> Points:
    """Median of a quantity in each bin; its errors are those of the median of a Gaussian, sqrt(pi / 2 n) of sigma."""

    def error(width: float, entries: int) -> float:
        return float(np.sqrt(np.pi / 2 / entries)) * width

    return _profile(values, quantity, edges, lambda entries: float(np.median(entries)), error)


def _profile(
    values: Floats, quantity: Floats, edges: Floats, statistic: Callable[[Floats], float],
    error_of: Callable[[float, int], float],
) -> Points:  # fmt: skip
    """A statistic of the quantity in each bin, and its error by the width of the quantity and the number of entries."""
    where = np.digitize(values, edges) - 1
    value, error = np.full(len(edges) - 1, np.nan), np.full(len(edges) - 1, np.nan)
    for number in range(len(value)):
        entries = quantity[where == number]
        if len(entries) >= LEAST:
            value[number] = statistic(entries)
            error[number] = error_of(sigma68(entries), len(entries))
    return Points(value, error, error)
