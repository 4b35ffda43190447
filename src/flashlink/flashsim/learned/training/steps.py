"""Where distributions step: the slices of one variable that tell the most of others (CART).

L. Breiman, J. Friedman, R. Olshen, C. Stone, Classification and Regression Trees, 1984: a slice is cut where the spread
of one of the others about its means falls most, the slice first that gains the most by it.
"""

from __future__ import annotations

import numpy as np

from flashlink.flashsim.parameterizations.condition import Floats


def steps(along: Floats, values: Floats, most: int, least: int) -> Floats:
    """Where the slices begin, increasing, the first at the least of `along`.

    Args:
        along: The variable that is sliced, shape (rows,).
        values: Those that it tells of, shape (variables, rows).
        most: Slices, at most.
        least: Rows in a slice, at least.
    """
    order = np.argsort(along, kind="stable")
    along = along[order]
    spread = values.std(axis=1, keepdims=True)
    values = (values - values.mean(axis=1, keepdims=True))[:, order] / np.where(spread > 0, spread, 1)
    slices = [(0, len(along))]
    cuts = {whole: _cut(along, values, *whole, least) for whole in slices}
    while len(slices) < most:
        begin, end = best = max(slices, key=lambda part: cuts[part][0])
        gain, middle = cuts[best]
        if gain <= 0:
            break
        slices.remove(best)
        for half in ((begin, middle), (middle, end)):
            slices.append(half)
            cuts[half] = _cut(along, values, *half, least)
    return along[sorted(begin for begin, _ in slices)]


def _cut(along: Floats, values: Floats, begin: int, end: int, least: int) -> tuple[float, int]:
    """By how much the best cut of a slice lowers a sum of squares, and where it is; 0 where there is none."""
    rows = np.arange(begin + least, end - least + 1)
    rows = rows[along[rows - 1] < along[rows]] if len(rows) else rows
    if not len(rows):
        return 0.0, begin
    sums = np.cumsum(values[:, begin:end], axis=1)
    left, whole = sums[:, rows - begin - 1], sums[:, -1:]
    n, size = rows - begin, end - begin
    # Of squares about the means: what the means take off grows by this.
    gain = (np.square(left) / n + np.square(whole - left) / (size - n) - np.square(whole) / size).max(axis=0)
    return float(gain.max()), int(rows[gain.argmax()])
