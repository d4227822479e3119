"""Builds an ONNX model, operation by operation. Needs the extra `[onnx]`."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import numpy as np

from wage_tf.errors import UserError

_OPSET = 17
_IR_VERSION = 8


def package() -> Any:
    """The `onnx` package.

    Raises:
        UserError: If it is not installed.
    """
    try:
        return importlib.import_module("onnx")
    except ModuleNotFoundError:
        raise UserError("ONNX export needs the package onnx: pip install 'wage-tf[onnx]'") from None


@dataclasses.dataclass(frozen=True)
class Value:
    """An array of the model; its first axis, the batch, is left out of `shape`.

    Attributes:
        name: In the model.
        dtype: Of its elements.
        shape: Height, width and channels of an image, which the array has as channels, height and width; else its own.
        zero: What stands for 0.
    """

    name: str
    dtype: type
    shape: tuple[int, ...]
    zero: int = 0


class ModelBuilder:
    """One graph, filled operation by operation."""

    def __init__(self) -> None:
        self._onnx = package()
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._inputs: list[Any] = []

    def input(self, name: str, dtype: type, shape: tuple[int, ...]) -> Value:
        """Declares the input; images come with their channels last."""
        self._inputs.append(self._declared(name, dtype, ("batch", *shape)))
        return self.to_channels_first(Value(name, dtype, shape))

    def constant(self, values: np.ndarray) -> str:
        """Stores an array, equal ones once."""
        key = f"{values.dtype}{list(values.shape)}{hash(values.tobytes())}"
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = self._onnx.numpy_helper.from_array(np.ascontiguousarray(values), name)
        return self._constants[key].name

    def scalar(self, value: float, dtype: type) -> str:
        """Stores a number."""
        return self.constant(np.array(value, dtype))

    def add(self, kind: str, inputs: list[str], **attributes: object) -> str:
        """Appends an operation and returns the name of its output."""
        name = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def cast(self, name: str, dtype: type) -> str:
        """Changes the type of numbers, and nothing else."""
        return self.add("Cast", [name], to=self._type(dtype))

    def to_channels_first(self, x: Value) -> Value:
        """An image whose array has its channels last, as the model keeps images."""
        return self._transposed(x, [0, 3, 1, 2])

    def to_channels_last(self, x: Value) -> Value:
        """The opposite."""
        return self._transposed(x, [0, 2, 3, 1])

    def finish(self, description: str, output: Value, outputs: int, metadata: dict[str, str]) -> bytes:
        """The content of a file.

        Args:
            description: Text for people.
            output: The scores.
            outputs: Their number.
            metadata: Texts by name.
        """
        helper = self._onnx.helper
        self._nodes.append(helper.make_node("Identity", [output.name], ["scores"], name="scores"))
        scores = self._declared("scores", output.dtype, ("batch", outputs))
        graph = helper.make_graph(self._nodes, "wage_tf", self._inputs, [scores], list(self._constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="wage_tf")
        model.ir_version, model.doc_string = _IR_VERSION, description
        helper.set_model_props(model, metadata)
        self._onnx.checker.check_model(model)
        return model.SerializeToString()

    def _transposed(self, x: Value, order: list[int]) -> Value:
        return dataclasses.replace(x, name=self.add("Transpose", [x.name], perm=order)) if len(x.shape) == 3 else x

    def _declared(self, name: str, dtype: type, shape: tuple[int | str, ...]) -> Any:
        return self._onnx.helper.make_tensor_value_info(name, self._type(dtype), shape)

    def _type(self, dtype: type) -> int:
        return self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
