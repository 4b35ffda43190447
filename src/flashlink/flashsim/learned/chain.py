"""A chain of variables, each drawn given the condition and those before it: inference by onnxruntime.

Rows go through the network in chunks of one fixed size, the last one filled up, on one thread: so what a row becomes
depends on nothing but itself, bit for bit, and the working arrays stay in the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from flashlink.errors import RequestError
from flashlink.flashsim.learned.variables import Apart, Classes, Continuous, Variable
from flashlink.flashsim.parameterizations.condition import Floats

if TYPE_CHECKING:
    import onnxruntime

#: Rows of a chunk, as the files of models have them fixed.
ROWS = 2048

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Chain:
    """A model as a distribution of variables, given a condition.

    Attributes:
        variables: What it draws, in order.
        inputs: Names of the columns of the condition.
        model: The bytes of an ONNX file, of the form that `flashlink.flashsim.learned.training.export` writes.
        apart: What tells the kinds of rows that have curves of their own: each combination of slices is a kind.
    """

    variables: tuple[Variable, ...]
    inputs: tuple[str, ...]
    model: bytes = field(repr=False)
    apart: tuple[Apart, ...] = ()

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        # Only here: it takes long to import, and tables need none.
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        _share_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            session = onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class of its own for each code, without a common one
            raise RequestError(f"model: onnxruntime cannot load it ({' '.join(str(error).split())[:120]})") from error
        found = {port.name: port.shape for port in session.get_inputs()}
        wanted = {"condition": [len(self.inputs), ROWS], "uniform": [len(self.variables), ROWS]}
        if found != wanted:
            raise RequestError(f"model: has the inputs {found}, expected {wanted}; train it again")
        return session

    def sample(self, condition: Floats, uniform: Floats) -> Mapping[str, Floats]:
        """Draw the variables.

        Args:
            condition: Features, shape (rows, inputs).
            uniform: Numbers between 0 and 1, shape (variables, rows).

        Returns:
            Values by name of the variable, shape (rows,); 0 where a variable is absent.
        """
        drawn = self.inside(condition, uniform)
        by_name = {variable.name: column for variable, column in zip(self.variables, drawn, strict=True)}
        kinds = self.kinds(condition, by_name)
        values = {variable.name: _decoded(variable, by_name[variable.name], kinds) for variable in self.variables}
        for variable in self.variables:
            if isinstance(variable, Continuous) and variable.when:
                there = np.asarray(variable.present)[by_name[variable.when].astype(np.int64)]
                values[variable.name] = np.where(there, values[variable.name], 0.0)
        return values

    def kinds(self, condition: Floats, inside: Mapping[str, Floats]) -> Mapping[int, Rows]:
        """The rows of each kind that there is, by its number.

        Args:
            condition: Features, shape (rows, inputs).
            inside: Indices of the classes of variables, by name, each of shape (rows,).
        """
        kind = np.zeros(len(condition), dtype=np.int16)
        classes = {variable.name: variable for variable in self.variables if isinstance(variable, Classes)}
        for one in self.apart:
            if one.name in classes:
                values = classes[one.name].decode(inside[one.name])
            else:
                values = condition[:, self.inputs.index(one.name)]
            kind *= len(one.begins)
            for begin in one.begins[1:]:
                kind += values >= begin
        return {int(number): np.flatnonzero(kind == number) for number in np.unique(kind)}

    def inside(self, condition: Floats, uniform: Floats) -> Floats:
        """What the network answers before it is mapped back, shape (variables, rows); arguments as for `sample`."""
        count = len(condition)
        inside = np.empty((len(self.variables), count))
        inputs = {
            "condition": np.zeros((len(self.inputs), ROWS), dtype=np.float32),
            "uniform": np.zeros((len(self.variables), ROWS), dtype=np.float32),
        }
        for start in range(0, count, ROWS):
            rows = slice(start, min(start + ROWS, count))
            size = rows.stop - start
            inputs["condition"][:, :size], inputs["uniform"][:, :size] = condition[rows].T, uniform[:, rows]
            # What fills the last chunk up.
            inputs["condition"][:, size:], inputs["uniform"][:, size:] = 0.0, 0.5
            inside[:, rows] = self._session.run(None, inputs)[0][:, :size]
        return inside


@cache
def _share_arena() -> None:
    """Let all networks work in the same memory, one after the other: each would keep an arena of its own."""
    import onnxruntime

    information = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(information, None)


def _decoded(variable: Variable, inside: Floats, kinds: Mapping[int, Rows]) -> Floats:
    if not isinstance(variable, Continuous):
        return variable.decode(inside)
    if len(kinds) == 1:
        return variable.decode(inside, *kinds)
    values = np.empty(inside.shape)
    for kind, rows in kinds.items():
        values[rows] = variable.decode(inside[rows], kind)
    return values
