"""From the parameters of a trained chain to ONNX: the whole draw is in the graph, variable after variable.

A head's answer becomes a value by inversion: a uniform number chooses the class or the component of the mixture, and
what is left of it within the component, uniform again, goes through the inverse of the logistic distribution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from flashlink.flashsim.learned.chain import ROWS
from flashlink.flashsim.learned.training.network import LEAST_LOG_WIDTH, SEEN_SCALE, Shape
from flashlink.flashsim.learned.variables import Classes

Singles = npt.NDArray[np.float32]

#: Of the operators and the file; onnxruntime 1.17 and later read them.
_OPSET, _FORMAT = 17, 8

#: What is left of a uniform number stays so far from 0 and 1: single precision tells no more.
_MARGIN = 1e-6

#: No value is encoded farther out: 1 of a million of the training is beyond.
_FARTHEST = 14.0

#: Beyond it the exponential would leave single precision.
_LARGEST_LOGIT = 60.0


def exported(parameters: Mapping[str, Singles], shape: Shape, mean: Singles, scale: Singles, bounds: Singles) -> bytes:
    """The model as bytes of an ONNX file; the same arguments give the same bytes.

    It has the inputs ``condition``, shape (inputs, `ROWS`), not scaled, and ``uniform``, shape (variables, `ROWS`), and
    the output ``inside``, shape (variables, `ROWS`): indices of classes and encoded values. Rows are the last axis, so
    that every operator works on long vectors.

    Args:
        parameters: Of the network.
        shape: Of the network.
        mean: Of each input, which is taken off before all else.
        scale: What each is divided by then.
        bounds: Least and largest of each input in the training, shape (2, inputs): what is beyond counts as these.
    """
    graph = _Graph()
    hidden = graph("Max", "condition", graph.column(bounds[0]))
    hidden = graph("Min", hidden, graph.column(bounds[1]))
    hidden = graph("Mul", graph("Sub", hidden, graph.column(mean)), graph.column(1 / scale))
    for layer in range(len(shape.trunk)):
        weights = graph.constant(parameters[f"trunk {layer}"].T), graph.column(parameters[f"trunk bias {layer}"])
        hidden = graph("Relu", graph("Gemm", weights[0], hidden, weights[1]))
    uniforms = graph.split("uniform", [1] * len(shape.variables))
    before: str | None = None
    drawn: dict[str, str] = {}
    inside = []
    for number, variable in enumerate(shape.variables):
        answer = _answer(graph, parameters, shape, number, hidden, before)
        if isinstance(variable, Classes):
            value, seen = _class(graph, len(variable.values), answer, uniforms[number])
            drawn[variable.name] = seen
        else:
            value = _smooth(graph, shape.components, answer, uniforms[number])
            if before is not None:
                line = parameters["line"][: shape.seen[number], number]
                value = graph("Add", value, graph("MatMul", graph.constant(line[None]), before))
            value = graph(
                "Max",
                graph("Min", value, graph.constant(np.float32(_FARTHEST))),
                graph.constant(np.float32(-_FARTHEST)),
            )
            seen = graph("Mul", value, graph.constant(np.float32(1 / SEEN_SCALE)))
            if variable.when:
                there = graph.constant(np.array(variable.present, dtype=np.float32)[None])
                seen = graph("Mul", seen, graph("MatMul", there, drawn[variable.when]))
        before = graph("Concat", before, seen, axis=0) if before is not None else seen
        inside.append(value)
    graph("Concat", *inside, axis=0, output="inside")
    return graph.model(
        {"condition": [shape.inputs, ROWS], "uniform": [len(shape.variables), ROWS]},
        {"inside": [len(shape.variables), ROWS]},
    )


class _Graph:
    """A graph under construction: a call adds a node and gives the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def split(self, value: str, sizes: list[int]) -> list[str]:
        """Cut into groups of rows of the first axis."""
        names = [f"n{len(self.nodes)}.{number}" for number in range(len(sizes))]
        sizes_name = self.constant(np.array(sizes, dtype=np.int64))
        self.nodes.append(helper.make_node("Split", [value, sizes_name], names, axis=0))
        return names

    def constant(self, value: npt.NDArray[np.generic] | np.generic) -> str:
        """Add a constant; arrays of floats in single precision."""
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def column(self, value: npt.NDArray[np.generic]) -> str:
        """Add a constant of one number for each row of the first axis."""
        return self.constant(value[:, None])

    def model(self, inputs: dict[str, list[int]], outputs: dict[str, list[int]]) -> bytes:
        """The file."""
        taken, given = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ports.items()]
            for ports in (inputs, outputs)
        )
        graph = helper.make_graph(self.nodes, "chain", taken, given, initializer=self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_FORMAT, producer_name="flashlink"
        )
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def _answer(
    graph: _Graph, parameters: Mapping[str, Singles], shape: Shape, number: int, hidden: str, before: str | None
) -> str:  # fmt: skip
    """What a head answers, shape (outputs, rows)."""
    variable = shape.variables[number]
    width = len(variable.values) if isinstance(variable, Classes) else 3 * shape.components
    inner = graph(
        "Gemm", graph.constant(parameters["head trunk"][:, number].T), hidden,
        graph.column(parameters["head bias"][number]),
    )  # fmt: skip
    if before is not None:
        inner = graph("Gemm", graph.constant(parameters["head seen"][: shape.seen[number], number].T), before, inner)
    return graph(
        "Gemm", graph.constant(parameters["answer"][number][:, :width].T), graph("Relu", inner),
        graph.column(parameters["answer bias"][number][:width]),
    )  # fmt: skip


@dataclass(frozen=True)
class _Choice:
    """A choice among several, by a uniform number.

    Attributes:
        reached: 1 for each that the number reached, up to the chosen one, else 0; shape (size, rows).
        share: Not normalised probabilities, the same shape.
        before: Their sums over those before each, the same shape.
        place: The number, in the same units, shape (1, rows).
    """

    reached: str
    share: str
    before: str
    place: str


def _choice(graph: _Graph, size: int, logits: str, uniform: str) -> _Choice:
    share = graph("Exp", graph("Min", logits, graph.constant(np.float32(_LARGEST_LOGIT))))
    # One product sums those before each, and all.
    sums = graph("MatMul", graph.constant(np.tril(np.ones((size + 1, size), dtype=np.float32), -1)), share)
    before, total = graph.split(sums, [size, 1])
    place = graph("Mul", uniform, total)
    # The first is always reached, as nothing is before it.
    return _Choice(graph("Cast", graph("GreaterOrEqual", place, before), to=TensorProto.FLOAT), share, before, place)


def _last(size: int, copies: int = 1) -> Singles:
    """The matrix that turns "reached" into zeros and a one for the last of them, as often as wanted."""
    return np.tile(np.eye(size, dtype=np.float32) - np.eye(size, k=1, dtype=np.float32), (copies, 1))


def _class(graph: _Graph, size: int, logits: str, uniform: str) -> tuple[str, str]:
    """The index as a number, and as rows of zeros and ones."""
    reached = _choice(graph, size, logits, uniform).reached
    chosen = graph("MatMul", graph.constant(_last(size)), reached)
    return graph("MatMul", graph.constant(np.arange(size, dtype=np.float32)[None]), chosen), chosen


def _smooth(graph: _Graph, components: int, answer: str, uniform: str) -> str:
    """A value of a mixture, shape (1, rows)."""
    logits, _ = graph.split(answer, [components, 2 * components])
    choice = _choice(graph, components, logits, uniform)
    chosen = graph("MatMul", graph.constant(_last(components, 3)), choice.reached)
    blocks = np.kron(np.eye(3), np.ones(components)).astype(np.float32)
    picked = graph("MatMul", graph.constant(blocks), graph("Mul", answer, chosen))
    logit, mean, log_width = graph.split(picked, [1, 1, 1])
    first, _ = graph.split(chosen, [components, 2 * components])
    sums = graph("Mul", choice.before, first)
    start = graph("MatMul", graph.constant(np.ones((1, components), dtype=np.float32)), sums)
    share = graph("Exp", graph("Min", logit, graph.constant(np.float32(_LARGEST_LOGIT))))
    # One without any probability is chosen where rounding puts the number at its start.
    share = graph("Max", share, graph.constant(np.float32(1e-30)))
    left = graph("Div", graph("Sub", choice.place, start), share)
    left = graph(
        "Max", graph("Min", left, graph.constant(np.float32(1 - _MARGIN))), graph.constant(np.float32(_MARGIN))
    )
    odds = graph("Div", left, graph("Sub", graph.constant(np.float32(1)), left))
    width = graph("Exp", graph("Max", log_width, graph.constant(np.float32(LEAST_LOG_WIDTH))))
    return graph("Add", mean, graph("Mul", width, graph("Log", odds)))
