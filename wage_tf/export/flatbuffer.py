"""Builds a LiteRT flatbuffer, operation by operation, with power-of-two scales. Needs the extra `[litert]`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wage_tf.errors import UserError

_TYPES = (np.uint8, np.int8, np.int16, np.int32, np.int64, np.float32)
_IDENTIFIER = b"TFL3"
_SCHEMA_VERSION = 3
_SIGNATURE = "serving_default"


def schema() -> Any:
    """LiteRT's generated flatbuffer classes.

    Raises:
        UserError: If `ai-edge-litert` is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated
    except ModuleNotFoundError:
        raise UserError("LiteRT export needs the package ai-edge-litert: pip install 'wage-tf[litert]'") from None
    return schema_py_generated


class ModelBuilder:
    """One subgraph, filled operation by operation; tensors are numbers. `fraction` f is the scale 2^(−f).

    Args:
        description: Text for people.
    """

    def __init__(self, description: str):
        self._schema = s = schema()
        self._model, self._graph = s.ModelT(), s.SubGraphT()
        self._model.version = _SCHEMA_VERSION
        self._model.description = description.encode(errors="replace").decode()
        self._model.subgraphs = [self._graph]
        self._model.buffers, self._model.operatorCodes, self._model.metadata = [s.BufferT()], [], []
        self._graph.tensors, self._graph.operators = [], []
        self._codes: dict[tuple[int, int], int] = {}

    def shape(self, tensor: int) -> list[int]:
        """Shape of a tensor, the batch as 1."""
        return self._graph.tensors[tensor].shape

    def dtype(self, tensor: int) -> type:
        """NumPy's type of a tensor's elements."""
        types = self._schema.TensorType
        return next(t for t in _TYPES if getattr(types, np.dtype(t).name.upper()) == self._graph.tensors[tensor].type)

    def fraction(self, tensor: int) -> int | None:
        """Fraction bits of a quantized tensor; None of another."""
        quantization = self._graph.tensors[tensor].quantization
        return None if quantization is None else -round(math.log2(quantization.scale[0]))

    def tensor(self, name: str, dtype: type, shape: Sequence[int], fraction: int | None = None) -> int:
        """Declares a tensor whose first axis is the batch."""
        tensor = self._declare(name, dtype, shape, fraction)
        tensor.shapeSignature = [-1, *shape[1:]]
        return len(self._graph.tensors) - 1

    def constant(self, name: str, values: np.ndarray, fraction: int | None = None) -> int:
        """Stores an array."""
        tensor = self._declare(name, values.dtype.type, values.shape, fraction)
        tensor.buffer = self._buffer(np.ascontiguousarray(values).tobytes())
        return len(self._graph.tensors) - 1

    def add(self, name: str, operands: list[int], y: int, kind: str = "", version: int = 1, **options: Any) -> int:
        """Appends an operation and returns its output.

        Args:
            name: Of the built-in operator.
            operands: Its inputs.
            y: Its output.
            kind: Name of the class of its options, if it has any.
            version: Of the operator, that of its types.
            **options: The options; "padding" and "activation" by their names in lower case.
        """
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._operator_code(getattr(self._schema.BuiltinOperator, name), version)
        operator.inputs, operator.outputs = operands, [y]
        if kind:
            operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, kind)
            operator.builtinOptions = getattr(self._schema, f"{kind}T")()
        if "padding" in options:
            options["padding"] = getattr(self._schema.Padding, str(options["padding"]).upper())
        if "activation" in options:
            kinds = self._schema.ActivationFunctionType
            options["fusedActivationFunction"] = getattr(kinds, str(options.pop("activation")).upper())
        for option, value in options.items():
            setattr(operator.builtinOptions, option, value)
        self._graph.operators.append(operator)
        return y

    def cast(self, x: int, dtype: type, fraction: int | None = None) -> int:
        """Changes the type of numbers, and nothing else."""
        y = self.tensor("cast", dtype, self.shape(x), fraction)
        types = (self._graph.tensors[tensor].type for tensor in (x, y))
        return self.add("CAST", [x], y, "CastOptions", **dict(zip(("inDataType", "outDataType"), types, strict=True)))

    def finish(self, inputs: dict[str, int], outputs: dict[str, int], metadata: dict[str, str]) -> bytes:
        """Closes the model and returns the file's content; inputs and outputs go by name in its one signature."""
        import flatbuffers

        self._graph.inputs, self._graph.outputs = list(inputs.values()), list(outputs.values())
        signature = self._schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = _SIGNATURE, 0
        signature.inputs, signature.outputs = self._named(inputs), self._named(outputs)
        self._model.signatureDefs = [signature]
        for name, text in metadata.items():
            entry = self._schema.MetadataT()
            entry.name, entry.buffer = name, self._buffer(text.encode())
            self._model.metadata.append(entry)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())

    def _named(self, tensors: dict[str, int]) -> list[Any]:
        entries = []
        for name, tensor in tensors.items():
            entry = self._schema.TensorMapT()
            entry.name, entry.tensorIndex = name, tensor
            entries.append(entry)
        return entries

    def _declare(self, name: str, dtype: type, shape: Sequence[int], fraction: int | None) -> Any:
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), 0
        tensor.type = getattr(self._schema.TensorType, np.dtype(dtype).name.upper())
        if fraction is not None:
            tensor.quantization = self._schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [2.0**-fraction], [0]
        self._graph.tensors.append(tensor)
        return tensor

    def _buffer(self, content: bytes) -> int:
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8)
        self._model.buffers.append(buffer)
        return len(self._model.buffers) - 1

    def _operator_code(self, code: int, version: int) -> int:
        if (code, version) not in self._codes:
            entry = self._schema.OperatorCodeT()
            entry.builtinCode, entry.version = code, version
            entry.deprecatedBuiltinCode = min(code, 127)
            self._model.operatorCodes.append(entry)
            self._codes[code, version] = len(self._codes)
        return self._codes[code, version]


def read_metadata(content: bytes, name: str) -> str:
    """Returns one metadata entry of a `.tflite` file's content.

    Raises:
        UserError: If it is no such file, is damaged or has no such entry. The format has no checksum: damage is found
            where it breaks the file's structure.
    """
    if content[4:8] != _IDENTIFIER:
        raise UserError("not a LiteRT model")
    model_type = schema().ModelT
    try:
        model = model_type.InitFromPackedBuf(content)
        for entry in model.metadata or []:
            if entry.name == name.encode():
                return bytes(model.buffers[entry.buffer].data).decode()
    except Exception as error:
        raise UserError(f"the LiteRT model is damaged: {type(error).__name__}") from error
    raise UserError(f"the LiteRT model has no metadata {name!r}")
