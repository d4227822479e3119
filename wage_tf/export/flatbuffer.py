"""Builds a LiteRT flatbuffer of int8 operations with power-of-two scales. Needs the extra `[litert]`."""

from __future__ import annotations

from typing import Any

import numpy as np

from wage_tf.errors import UserError
from wage_tf.export.stages import Pool, Product

_IDENTIFIER = b"TFL3"
_SCHEMA_VERSION = 3


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

    def tensor(self, name: str, dtype: type, shape: tuple[int, ...], fraction: int | None = None) -> int:
        """Declares a tensor whose first axis is the batch."""
        tensor = self._declare(name, dtype, shape, fraction)
        tensor.shapeSignature = [-1, *shape[1:]]
        return len(self._graph.tensors) - 1

    def constant(self, name: str, values: np.ndarray, fraction: int | None = None) -> int:
        """Stores an array."""
        tensor = self._declare(name, values.dtype.type, values.shape, fraction)
        tensor.buffer = self._buffer(np.ascontiguousarray(values).tobytes())
        return len(self._graph.tensors) - 1

    def cast(self, x: int, dtype: type) -> int:
        """Changes the type of integers."""
        y = self.tensor("indices", dtype, self.shape(x))
        return self._add("CAST", 1, [x], y, "CastOptions", inDataType=self._type_of(x), outDataType=self._type_of(y))

    def gather(self, table: int, indices: int, fraction: int) -> int:
        """Looks every index up in a table."""
        y = self.tensor("pixels", np.int8, self.shape(indices), fraction)
        return self._add("GATHER", 2, [table, indices], y, "GatherOptions", axis=0)

    def reshape(self, x: int, shape: tuple[int, ...], fraction: int) -> int:
        """Changes the shape behind the batch."""
        y = self.tensor("flat", self._numpy_type(x), shape, fraction)
        sizes = self.constant("flat/shape", np.array([-1, *shape[1:]], np.int32))
        return self._add("RESHAPE", 1, [x, sizes], y, "ReshapeOptions", newShape=[-1, *shape[1:]])

    def convolution(self, product: Product, x: int, weights: int, bias: int, relu: bool, fraction: int) -> int:
        """int8 convolution, requantized to `fraction`."""
        y = self.tensor(product.name, np.int8, (1, *product.shape_out), fraction)
        options = {
            "padding": self._padding(product.padding),
            "strideH": product.strides[0],
            "strideW": product.strides[1],
            "fusedActivationFunction": self._activation(relu),
        }
        return self._add("CONV_2D", 3, [x, weights, bias], y, "Conv2DOptions", **options)

    def fully_connected(self, name: str, x: int, weights: int, bias: int, relu: bool, fraction: int) -> int:
        """int8 matrix product, requantized to `fraction`; weights are [units, inputs]."""
        y = self.tensor(name, np.int8, (1, self.shape(weights)[0]), fraction)
        activation = self._activation(relu)
        operands = [x, weights, bias]
        return self._add("FULLY_CONNECTED", 4, operands, y, "FullyConnectedOptions", fusedActivationFunction=activation)

    def matrix_product(self, name: str, x: int, weights: int, fraction: int) -> int:
        """int8 matrix product whose int32 sums are the output; weights are [inputs, units]."""
        y = self.tensor(name, np.int32, (1, self.shape(weights)[1]), fraction)
        return self._add("BATCH_MATMUL", 2, [x, weights], y, "BatchMatMulOptions")

    def max_pool(self, x: int, pool: Pool, fraction: int) -> int:
        """Maximum of int8 windows."""
        y = self.tensor(pool.name, np.int8, (1, *pool.shape_out), fraction)
        options = {
            "padding": self._padding(pool.padding),
            "strideH": pool.strides[0],
            "strideW": pool.strides[1],
            "filterHeight": pool.window[0],
            "filterWidth": pool.window[1],
        }
        return self._add("MAX_POOL_2D", 2, [x], y, "Pool2DOptions", **options)

    def bound(self, kind: str, x: int, limit: int, fraction: int) -> int:
        """ "minimum" or "maximum" of int8 codes and a constant."""
        y = self.tensor(f"{kind} {limit}", np.int8, self.shape(x), fraction)
        constant = self.constant(f"{kind} {limit}/limit", np.array([limit], np.int8), fraction)
        return self._add(kind.upper(), 2, [x, constant], y, "MaximumMinimumOptions")

    def finish(self, inputs: list[int], outputs: list[int], metadata: dict[str, str]) -> bytes:
        """Closes the model and returns the file's content."""
        import flatbuffers

        self._graph.inputs, self._graph.outputs = inputs, outputs
        for name, text in metadata.items():
            entry = self._schema.MetadataT()
            entry.name, entry.buffer = name, self._buffer(text.encode())
            self._model.metadata.append(entry)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())

    def _declare(self, name: str, dtype: type, shape: tuple[int, ...], fraction: int | None) -> Any:
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

    def _add(self, name: str, version: int, operands: list[int], y: int, kind: str, **options: object) -> int:
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._operator_code(getattr(self._schema.BuiltinOperator, name), version)
        operator.inputs, operator.outputs = operands, [y]
        operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, kind)
        operator.builtinOptions = getattr(self._schema, f"{kind}T")()
        for option, value in options.items():
            setattr(operator.builtinOptions, option, value)
        self._graph.operators.append(operator)
        return y

    def _operator_code(self, code: int, version: int) -> int:
        if (code, version) not in self._codes:
            entry = self._schema.OperatorCodeT()
            entry.builtinCode, entry.version = code, version
            entry.deprecatedBuiltinCode = min(code, 127)
            self._model.operatorCodes.append(entry)
            self._codes[code, version] = len(self._codes)
        return self._codes[code, version]

    def _type_of(self, tensor: int) -> int:
        return self._graph.tensors[tensor].type

    def _numpy_type(self, tensor: int) -> type:
        return np.int8 if self._type_of(tensor) == self._schema.TensorType.INT8 else np.int32

    def _padding(self, padding: str) -> int:
        return self._schema.Padding.SAME if padding == "same" else self._schema.Padding.VALID

    def _activation(self, relu: bool) -> int:
        kinds = self._schema.ActivationFunctionType
        return kinds.RELU if relu else kinds.NONE


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
