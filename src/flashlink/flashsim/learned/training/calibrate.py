"""The last step of a training: each variable is mapped back so that, over the whole training, it has its distribution.

A network draws smooth distributions, and what is finer than its map or its mixtures comes out smeared: narrow lines,
edges of likelihoods, correlations that hardly differ from zero, tails. So it draws once for the conditions of the
training, and the quantiles of what it drew are assigned to those of the training. What is left are the differences that
depend on the condition or on other variables.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from msgspec import structs

from flashlink.flashsim.learned.chain import Chain
from flashlink.flashsim.learned.training.problem import Problem
from flashlink.flashsim.learned.variables import Continuous, Variable
from flashlink.flashsim.parameterizations.condition import Floats
from flashlink.flashsim.random import Stream

#: Shares of the quantiles, with many rows: evenly between, and on to 1 in 10,000 beyond the outermost.
_EVEN, _TAIL, _REACH = 256, 65, 1e-4

#: Rows between two of them, at least.
_LEAST = 20


def calibrated(chain: Chain, problem: Problem, seed: int) -> Chain:
    """The same chain with the maps of its continuous variables calibrated; the same arguments give the same chain.

    Args:
        chain: As trained.
        problem: What it was trained on.
        seed: Of the training.
    """
    if not any(isinstance(variable, Continuous) for variable in chain.variables):
        return chain
    rows = len(problem.condition)
    uniform = Stream(seed, f"train/calibrate/{problem.name}").uniform(np.arange(rows), 0, len(chain.variables))
    inside = dict(
        zip((variable.name for variable in chain.variables), chain.inside(problem.condition, uniform), strict=True)
    )
    variables: list[Variable] = []
    for variable in chain.variables:
        if isinstance(variable, Continuous):
            samples = inside[variable.name], problem.values[variable.name]
            there = [np.ones(rows, dtype=bool)] * 2
            if variable.when:
                present = np.array(variable.present)
                there = [present[values[variable.when].astype(np.int64)] for values in (inside, problem.values)]
            variables.append(_mapped(variable, samples, there, problem.weight))
        else:
            variables.append(variable)
    return replace(chain, variables=tuple(variables))


def _mapped(
    variable: Continuous, samples: tuple[Floats, Floats], there: list[npt.NDArray[np.bool_]], weight: Floats
) -> Continuous:
    """With the quantiles of the drawn sample, which is the first, as places of those of the training."""
    least = min(int(rows.sum()) for rows in there)
    if least < 2 * _LEAST:
        return variable
    shares = _shares(least)
    places, knots = (
        _quantiles(values[rows], weight[rows], shares) for values, rows in zip(samples, there, strict=True)
    )
    # As many digits as single precision has, for the manifest's sake. Knots may be equal: a value that is not rare.
    places, knots = np.round(places, 6), np.array([float(str(knot)) for knot in knots.astype(np.float32)])
    apart = np.concatenate([[True], np.diff(places) > 0])
    if apart.sum() < 2:
        return variable
    return structs.replace(variable, knots=tuple(knots[apart].tolist()), places=tuple(places[apart].tolist()))


def _shares(rows: int) -> Floats:
    """Shares of the quantiles that so many rows tell apart."""
    even = max(min(_EVEN, rows // _LEAST), 2)
    farthest = np.log(1 / max(_REACH, 1 / rows) - 1)
    tails = 1 / (1 + np.exp(-np.linspace(-farthest, farthest, min(_TAIL, even + 1))))
    return np.union1d(np.arange(1, even) / even, tails)


def _quantiles(values: Floats, weight: Floats, shares: Floats) -> Floats:
    """Quantiles of weighted values; negative weights count as gaps."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weight[order]) - weight[order] / 2
    return np.interp(shares, np.maximum.accumulate(below) / weight.sum(), values[order])
