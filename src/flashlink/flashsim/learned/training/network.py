"""The network of a chain in jax: its shapes, its likelihood.

A trunk turns the condition into a hidden layer that all variables share. Each variable has a head with one hidden layer
of its own, which sees the trunk and the variables before it, and answers the parameters of its distribution: of classes
the logits, of a continuous variable a mixture of logistic distributions (B. Uria, I. Murray, H. Larochelle, "RNADE: the
real-valued neural autoregressive density-estimator", NIPS 2013).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from flashlink.flashsim.learned.variables import Classes, Continuous, Variable

Parameters = dict[str, Any]

#: The narrowest component of a mixture, as the logarithm of its width, where a variable has a width of 1.8 in all.
LEAST_LOG_WIDTH = -7.0

#: What encodings are divided by when later variables see them.
SEEN_SCALE = 2.0


@dataclass(frozen=True)
class Shape:
    """The shape of a network.

    Attributes:
        inputs: Columns of the condition.
        variables: What it draws.
        trunk: Widths of the layers of the trunk.
        head: Width of the hidden layer of each head.
        components: Of each mixture.
    """

    inputs: int
    variables: tuple[Variable, ...]
    trunk: tuple[int, ...]
    head: int
    components: int

    @property
    def outputs(self) -> int:
        """Columns of the answer of a head: the most that any needs."""
        classes = [len(variable.values) for variable in self.variables if isinstance(variable, Classes)]
        return max([3 * self.components if self.continuous.any() else 0, *classes])

    @property
    def continuous(self) -> npt.NDArray[np.bool_]:
        """Which variables are continuous."""
        return np.array([isinstance(variable, Continuous) for variable in self.variables])

    @property
    def seen(self) -> npt.NDArray[np.int64]:
        """First of the columns by which later variables see each variable, and the end of the last."""
        widths = [len(variable.values) if isinstance(variable, Classes) else 1 for variable in self.variables]
        return np.concatenate([[0], np.cumsum(widths)])

    def mask(self) -> npt.NDArray[np.float32]:
        """1 where a head may see a column of the variables before it, shape (columns, variables)."""
        first = self.seen
        column = np.arange(first[-1])[:, None]
        return (column < first[:-1]).astype(np.float32)


def see(shape: Shape, inside: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """How later variables see encoded ones: classes as columns of zeros and ones; NaN, which is absent, as 0."""
    columns = []
    for number, variable in enumerate(shape.variables):
        values = inside[:, number, None]
        if isinstance(variable, Classes):
            columns.append((values == np.arange(len(variable.values))).astype(np.float32))
        else:
            columns.append(np.nan_to_num(values / SEEN_SCALE).astype(np.float32))
    return np.concatenate(columns, axis=1)


def initial(shape: Shape, seed: int) -> Parameters:
    """Random parameters."""
    random = np.random.default_rng([seed, 1])
    number, columns = len(shape.variables), int(shape.seen[-1])
    widths = (shape.inputs, *shape.trunk)
    parameters: Parameters = {}
    for layer, (before, after) in enumerate(pairwise(widths)):
        parameters[f"trunk {layer}"] = random.normal(0, np.sqrt(2 / before), (before, after))
        parameters[f"trunk bias {layer}"] = np.zeros(after)
    parameters["head trunk"] = random.normal(0, np.sqrt(1 / widths[-1]), (widths[-1], number, shape.head))
    parameters["head seen"] = random.normal(0, np.sqrt(1 / max(columns, 1)), (columns, number, shape.head))
    parameters["head bias"] = np.zeros((number, shape.head))
    parameters["answer"] = random.normal(0, 0.1 / np.sqrt(shape.head), (number, shape.head, shape.outputs))
    bias = np.zeros((number, shape.outputs))
    # Components start apart, each over a part of the logistic distribution that the variable has in all.
    if shape.continuous.any():
        bias[shape.continuous, shape.components : 2 * shape.components] = np.linspace(-3, 3, shape.components)
    parameters["answer bias"] = bias
    parameters["line"] = np.zeros((columns, number))
    return {name: np.asarray(value, dtype=np.float32) for name, value in parameters.items()}


def answers(parameters: Parameters, shape: Shape, condition: jax.Array, seen: jax.Array) -> jax.Array:
    """What the heads answer, given the condition and the true variables before; shape (variables, outputs, rows)."""
    hidden = condition
    for layer in range(len(shape.trunk)):
        hidden = jax.nn.relu(hidden @ parameters[f"trunk {layer}"] + parameters[f"trunk bias {layer}"])
    mask = shape.mask()
    number, head = len(shape.variables), shape.head
    flat = hidden @ parameters["head trunk"].reshape(-1, number * head)
    flat = flat + seen @ (parameters["head seen"] * mask[:, :, None]).reshape(-1, number * head)
    inner = jax.nn.relu(flat.reshape(-1, number, head) + parameters["head bias"])
    answer = jnp.einsum("ndh,dho->don", inner, parameters["answer"]) + parameters["answer bias"][:, :, None]
    line = (seen @ (parameters["line"] * mask)).T * shape.continuous[:, None]
    means = np.zeros((shape.outputs, 1), dtype=np.float32)
    means[shape.components : 2 * shape.components] = 1
    shifted: jax.Array = answer + line[:, None] * means
    return shifted


def log_likelihood(
    parameters: Parameters, shape: Shape, condition: jax.Array, seen: jax.Array, inside: jax.Array
) -> jax.Array:
    """Of each row and variable, shape (rows, variables); 0 where a variable is absent (NaN)."""
    answer = answers(parameters, shape, condition, seen)
    there = ~jnp.isnan(inside.T)
    value = jnp.where(there, inside.T, 0.0)
    smooth, classes = np.flatnonzero(shape.continuous), np.flatnonzero(~shape.continuous)
    found = []
    if len(smooth):
        found.append(_of_mixture(answer[smooth], value[smooth], shape.components))
    if len(classes):
        found.append(_of_classes(answer[classes], value[classes], shape))
    order = np.argsort(np.concatenate([smooth, classes]))
    return jnp.where(there, jnp.concatenate(found)[order], 0.0).T


def _of_mixture(answer: jax.Array, value: jax.Array, components: int) -> jax.Array:
    weight = jax.nn.log_softmax(answer[:, :components], axis=1)
    mean = answer[:, components : 2 * components]
    log_width = jnp.maximum(answer[:, 2 * components : 3 * components], LEAST_LOG_WIDTH)
    place = (value[:, None] - mean) * jnp.exp(-log_width)
    density = -place - log_width - 2 * jax.nn.softplus(-place)
    return jax.nn.logsumexp(weight + density, axis=1)


def _of_classes(answer: jax.Array, value: jax.Array, shape: Shape) -> jax.Array:
    sizes = [len(variable.values) for variable in shape.variables if isinstance(variable, Classes)]
    allowed = np.arange(shape.outputs) < np.array(sizes, dtype=np.int64)[:, None]
    logits = jax.nn.log_softmax(jnp.where(allowed[:, :, None], answer, -1e9), axis=1)
    # A sum over the classes, since gathering is slow to differentiate.
    chosen = jnp.arange(shape.outputs)[None, :, None] == value[:, None]
    return jnp.where(chosen, logits, 0.0).sum(axis=1)
