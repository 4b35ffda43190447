"""What a chain learns: its condition, its variables, and the rows of the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flashlink.errors import RequestError
from flashlink.flashsim.learned.variables import Apart, Classes, Continuous, Variable
from flashlink.flashsim.likelihoods import PARTS
from flashlink.flashsim.mapping import WEIGHT
from flashlink.flashsim.parameterizations.condition import Floats
from flashlink.flashsim.states import Columns

#: Slices of momentum or energy in which tracks and clusters are calibrated apart.
SLICES = 4


@dataclass(frozen=True)
class Problem:
    """What one chain learns.

    Attributes:
        name: Of the chain.
        inputs: Names of the columns of the condition.
        condition: The columns, shape (rows, inputs).
        variables: What is drawn.
        values: Of each variable, shape (rows,).
        event: Of each row.
        weight: Of each row.
        apart: Slices of the condition, or of classes that are drawn, in which what is drawn is calibrated apart.
        of_apart: Names of the variables for which that is so; none for all.
    """

    name: str
    inputs: tuple[str, ...]
    condition: Floats
    variables: tuple[Variable, ...]
    values: Mapping[str, Floats]
    event: npt.NDArray[np.int64]
    weight: Floats
    apart: tuple[Apart, ...] = ()
    of_apart: tuple[str, ...] = ()


def weights(columns: Columns) -> Floats:
    """The weights of the rows of a sample, 1 on average but for their signs.

    Raises:
        RequestError: They do not sum to a positive number.
    """
    weight = np.asarray(columns.get(WEIGHT, np.ones(len(columns["event"]))), dtype=np.float64)
    if weight.sum() <= 0:
        raise RequestError(f"weights: their sum is {weight.sum():.6g}, expected a positive one; check the mapping")
    return np.asarray(weight / np.abs(weight).mean())


def slices(name: str, values: Floats) -> Apart:
    """`SLICES` slices of a column of the condition, with as many rows each."""
    begins = np.quantile(values, np.arange(SLICES) / SLICES)
    return Apart(name, tuple(np.unique(begins).tolist()))


def likelihoods(tracks: Columns) -> tuple[tuple[Variable, ...], dict[str, Floats]]:
    """Which likelihoods there are at all, as a class, then is_muon, then the likelihoods that there are."""
    values = {name: np.asarray(tracks[name], dtype=np.float64) for name in (*PARTS, "is_muon")}
    there = np.stack([values[name] != 0 for name in PARTS], axis=1)
    patterns, pattern = np.unique(there, axis=0, return_inverse=True)
    values["likelihoods"] = pattern.ravel().astype(np.float64)
    variables: list[Variable] = [Classes.of(name, values[name]) for name in ("likelihoods", "is_muon")]
    for number, name in enumerate(PARTS):
        rows = there[:, number]
        present = tuple(bool(found) for found in patterns[:, number])
        variables.append(Continuous.of(name, values[name][rows] if rows.any() else np.zeros(1), "likelihoods", present))
    return tuple(variables), values
