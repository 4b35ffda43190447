"""The last step of a training: each variable is mapped back so that, over the whole training, it has its distribution.

A network draws smooth distributions, and what is finer than its map or its mixtures comes out smeared: narrow lines,
edges of likelihoods, correlations that hardly differ from zero, tails. So it draws once for the conditions of the
training, and the quantiles of what it drew are assigned to those of the training, in each kind of rows apart: for
tracks by category, since what lies between the errors of two categories belongs to neither, and by momentum, since
tails that are right for all need not be so for the slow. What is left are the differences that depend on the rest of
the condition or on other variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from msgspec import structs

from flashlink.flashsim.learned.chain import Chain, Mask, Rows
from flashlink.flashsim.learned.training.problem import Problem
from flashlink.flashsim.learned.variables import Classes, Continuous, Curve, Variable
from flashlink.flashsim.parameterizations.condition import Floats
from flashlink.flashsim.random import Stream

#: Rows of each kind.
Kinds = Mapping[int, Rows]

#: Shares of the quantiles, with many rows: evenly between, and on to 1 in 10,000 beyond the outermost.
_EVEN, _TAIL, _REACH = 128, 49, 1e-4

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
    names = [variable.name for variable in chain.variables]
    inside = dict(zip(names, chain.inside(problem.condition, uniform), strict=True))
    encoded = {variable.name: variable.encode(problem.values[variable.name]) for variable in _classes(chain)}
    chain = replace(chain, apart=problem.apart)
    kinds = (chain.kinds(problem.condition, inside), chain.kinds(problem.condition, encoded))
    variables = tuple(_calibrated(variable, problem, inside, kinds) for variable in chain.variables)
    return replace(chain, variables=variables)


def _classes(chain: Chain) -> list[Classes]:
    return [variable for variable in chain.variables if isinstance(variable, Classes)]


def _calibrated(
    variable: Variable, problem: Problem, inside: Mapping[str, Floats], kinds: tuple[Kinds, Kinds]
) -> Variable:  # fmt: skip
    """The variable with its map over all rows, and over those of each kind, as they were drawn and as they are."""
    if not isinstance(variable, Continuous):
        return variable
    sides = [(values[variable.name], _present(variable, values)) for values in (inside, problem.values)]

    def curve(*rows: Rows) -> Curve | None:
        kept = [some[there[some]] for some, (_, there) in zip(rows, sides, strict=True)]
        return _curve(*((values[some], problem.weight[some]) for some, (values, _) in zip(kept, sides, strict=True)))

    every = np.arange(len(problem.condition))
    whole = curve(every, every) or variable.curve
    if not problem.apart or variable.name not in (problem.of_apart or problem.values):
        return structs.replace(variable, curve=whole)
    found = {kind: curve(kinds[0][kind], kinds[1][kind]) for kind in kinds[0].keys() & kinds[1].keys()}
    apart = {kind: found[kind] for kind in sorted(found)}
    return structs.replace(variable, curve=whole, apart={kind: one for kind, one in apart.items() if one is not None})


def _present(variable: Continuous, values: Mapping[str, Floats]) -> Mask:
    """In which rows the variable is there."""
    if not variable.when:
        return np.ones(len(values[variable.name]), dtype=bool)
    return np.asarray(np.array(variable.present)[values[variable.when].astype(np.int64)])


def _curve(drawn: tuple[Floats, Floats], real: tuple[Floats, Floats]) -> Curve | None:
    """From quantiles of the drawn sample to those of the other, each values and weights; None for too few rows."""
    least = min(len(values) for values, _ in (drawn, real))
    if least < 2 * _LEAST:
        return None
    shares = _shares(least)
    places, knots = (_quantiles(values, weight, shares) for values, weight in (drawn, real))
    # As many digits as single precision has, for the manifest's sake. Knots may be equal: a value that is not rare.
    places, knots = np.round(places, 6), np.array([float(str(knot)) for knot in knots.astype(np.float32)])
    apart = np.concatenate([[True], np.diff(places) > 0])
    if apart.sum() < 2:
        return None
    return Curve(tuple(knots[apart].tolist()), tuple(places[apart].tolist()))


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
