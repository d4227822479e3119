"""What every kind of node is in LiteRT. `KINDS` is the registry; see `litert` for the operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wage_tf.errors import UserError
from wage_tf.export.flatbuffer import ModelBuilder
from wage_tf.export.stages import Rounding, Stage
from wage_tf.integer.linear import Window
from wage_tf.integer.nodes import (
    Activation,
    Add,
    AveragePool2D,
    Concatenate,
    Conv2D,
    Dense,
    Flatten,
    MaxPool2D,
    Node,
    Relu,
    Rescale,
    Reshape,
    ZeroPad2D,
)

_WIDEST = 8
_INT8 = 127
_EXACT_IN_FLOAT32 = 2**24


def _rescale(model: ModelBuilder, stage: Stage, x: int) -> int:
    node, fraction = stage.node, stage.signal.fraction
    if node.width > _WIDEST:
        raise UserError(f"LiteRT export: {node.name}: activations of more than 8 bits have no int8 form")
    table = model.constant(f"{node.name}/table", node.codes, fraction)
    y = model.tensor(node.name, np.int8, (1, *stage.signal.shape), fraction)
    return model.add("GATHER", [table, model.cast(x, np.int32)], y, "GatherOptions", version=2, axis=0)


def _product(model: ModelBuilder, stage: Stage, x: int) -> int:
    node = stage.node
    if node.kernel.width > _WIDEST:
        raise UserError(f"LiteRT export: {node.name}: weights of more than 8 bits have no int8 form")
    is_int8 = model.dtype(x) == np.int8
    if is_int8 and _rounds_exactly(stage):
        return _quantized_product(model, stage, x)
    if is_int8 and isinstance(node, Dense) and stage.rounding == Rounding():
        return _matrix_product(model, stage, x)
    return _wide_product(model, stage, x)


def _rounds_exactly(stage: Stage) -> bool:
    """Whether XNNPACK, which rounds in float32, does so exactly: below 2^24, and beyond where sums are clipped anyway.

    The bias has to lie on the grid of the sums of products.
    """
    rounding = stage.rounding
    clipped = _EXACT_IN_FLOAT32 >> max(rounding.shift, 0) > rounding.limit
    exact = stage.sums.largest <= _EXACT_IN_FLOAT32 or clipped
    return 0 < rounding.limit <= _INT8 and -8 < rounding.shift <= 32 and exact and _bias_scale(stage) == 1


def _quantized_product(model: ModelBuilder, stage: Stage, x: int) -> int:
    """Sums rounded within the operation."""
    rounding, fraction = stage.rounding, stage.signal.fraction
    weights, bias = _weights(model, stage), model.constant(f"{stage.node.name}/bias", _bias(stage), stage.sums.fraction)
    y = model.tensor(stage.name, np.int8, (1, *stage.signal.shape), fraction)
    return _clipped(model, _linear(model, stage, [x, weights, bias], y), rounding)


def _matrix_product(model: ModelBuilder, stage: Stage, x: int) -> int:
    """int32 sums."""
    node, shape, fraction = stage.node, (1, *stage.signal.shape), stage.sums.fraction
    scale = node.kernel.log2_scale
    weights = model.constant(f"{node.name}/weights", node.kernel.codes, scale)
    y = model.tensor(node.name, np.int32, shape, stage.sources[0].fraction + scale)
    y = model.add("BATCH_MATMUL", [x, weights], y, "BatchMatMulOptions", version=2)
    scaled = [("MUL", np.array([_bias_scale(stage)], np.int32))] if _bias_scale(stage) > 1 else []
    for operation, values in [*scaled, ("ADD", _bias(stage))] if node.bias is not None else []:
        operands = [y, model.constant(f"{node.name}/{operation}", values)]
        y = model.add(operation, operands, model.tensor(node.name, np.int32, shape, fraction), _options(operation))
    return y


def _wide_product(model: ModelBuilder, stage: Stage, x: int) -> int:
    """float32 sums of the very integers, which are exact."""
    weights = _dequantized(model, _weights(model, stage))
    bias = model.constant(f"{stage.node.name}/bias", (_bias(stage) * 2.0**-stage.sums.fraction).astype(np.float32))
    return _rounded(model, stage, _linear(model, stage, [_wide(model, x), weights, bias], _sums(model, stage)))


def _linear(model: ModelBuilder, stage: Stage, operands: list[int], y: int) -> int:
    """The convolution or matrix product of int8 or float32 operands."""
    node, activation = stage.node, "relu" if stage.rounding.relu else "none"
    version = 3 if model.dtype(y) == np.int8 else 1
    if isinstance(node, Dense):
        version += version // 3
        return model.add("FULLY_CONNECTED", operands, y, "FullyConnectedOptions", version, activation=activation)
    options: dict[str, Any] = {
        **_window_options(node.window),
        "dilationHFactor": node.dilation[0],
        "dilationWFactor": node.dilation[1],
        "activation": activation,
    }
    if not _is_depthwise(node):
        return model.add("CONV_2D", operands, y, "Conv2DOptions", version=version, **options)
    options["depthMultiplier"] = node.kernel.codes.shape[3] // node.groups
    return model.add("DEPTHWISE_CONV_2D", operands, y, "DepthwiseConv2DOptions", version=max(version, 2), **options)


def _weights(model: ModelBuilder, stage: Stage) -> int:
    """The int8 weights as [units, inputs], [filters, h, w, channels / groups], or depthwise [1, h, w, filters]."""
    node = stage.node
    codes = node.kernel.codes
    if isinstance(node, Dense):
        codes = codes.T
    else:
        codes = codes.transpose(2, 0, 1, 3) if _is_depthwise(node) else codes.transpose(3, 0, 1, 2)
    return model.constant(f"{node.name}/weights", codes, node.kernel.log2_scale)


def _bias(stage: Stage) -> np.ndarray:
    """Codes of the bias in units of the sums, int32."""
    node = stage.node
    if node.bias is None:
        return np.zeros(node.kernel.codes.shape[-1], np.int32)
    return node.bias.codes.astype(np.int32) << (stage.sums.fraction - node.bias.fraction)


def _bias_scale(stage: Stage) -> int:
    """Units of the sums of products in those of the sums with the bias."""
    return 1 << (stage.sums.fraction - stage.sources[0].fraction - stage.node.kernel.log2_scale)


def _is_depthwise(node: Conv2D) -> bool:
    return node.kernel.codes.shape[2] == 1 and node.groups > 1


def _max_pool(model: ModelBuilder, stage: Stage, x: int) -> int:
    y = _like(model, stage, x)
    return model.add("MAX_POOL_2D", [x], y, "Pool2DOptions", version=2, **_pool_options(stage.node.moving))


def _average_pool(model: ModelBuilder, stage: Stage, x: int) -> int:
    y = model.add(
        "AVERAGE_POOL_2D", [_wide(model, x)], _sums(model, stage), "Pool2DOptions", **_pool_options(stage.node.moving)
    )
    return _rounded(model, stage, y)


def _pool_options(window: Window) -> dict[str, Any]:
    height, width = window.size
    return {**_window_options(window), "filterHeight": height, "filterWidth": width}


def _window_options(window: Window) -> dict[str, Any]:
    height, width = window.strides
    return {"padding": window.padding, "strideH": height, "strideW": width}


def _add(model: ModelBuilder, stage: Stage, x: int, *others: int) -> int:
    y = _wide(model, x)
    for other in others:
        y = model.add("ADD", [y, _wide(model, other)], _sums(model, stage), _options("ADD"))
    return _rounded(model, stage, y)


def _round(model: ModelBuilder, stage: Stage, x: int) -> int:
    return _rounded(model, stage, _wide(model, x))


def _concatenate(model: ModelBuilder, stage: Stage, *inputs: int) -> int:
    same = all(model.dtype(x) == np.int8 for x in inputs) and len({model.fraction(x) for x in inputs}) == 1
    inputs = inputs if same else tuple(_wide(model, x) for x in inputs)
    y = _like(model, stage, inputs[0])
    options = {"version": 2 if same else 1, "axis": stage.node.axis + 1}
    return model.add("CONCATENATION", list(inputs), y, "ConcatenationOptions", **options)


def _zero_pad(model: ModelBuilder, stage: Stage, x: int) -> int:
    pads = np.array([(0, 0), stage.node.rows, stage.node.columns, (0, 0)], np.int32)
    operands = [x, model.constant(f"{stage.name}/pads", pads)]
    return model.add("PAD", operands, _like(model, stage, x), "PadOptions", version=2)


def _reshape(model: ModelBuilder, stage: Stage, x: int) -> int:
    return reshaped(model, x, stage.signal.shape)


KINDS: dict[type[Node], Callable[..., int]] = {
    Rescale: _rescale,
    Conv2D: _product,
    Dense: _product,
    MaxPool2D: _max_pool,
    AveragePool2D: _average_pool,
    Add: _add,
    Activation: _round,
    Relu: _round,
    Concatenate: _concatenate,
    ZeroPad2D: _zero_pad,
    Flatten: _reshape,
    Reshape: _reshape,
}
"""What every kind adds to a model: from the stage and the tensors of its inputs to that of its output."""


def reshaped(model: ModelBuilder, x: int, shape: tuple[int, ...]) -> int:
    """The same numbers in another shape."""
    fraction = model.fraction(x) if model.dtype(x) in (np.int8, np.int32) else None
    y = model.tensor("reshaped", model.dtype(x), (1, *shape), fraction)
    sizes = model.constant("reshaped/shape", np.array([-1, *shape], np.int32))
    return model.add("RESHAPE", [x, sizes], y, "ReshapeOptions", newShape=[-1, *shape])


def scores(model: ModelBuilder, x: int, stage: Stage) -> int:
    """The output as codes [1, outputs], int8 or int32."""
    if model.dtype(x) == np.float32:
        scale = model.constant("scores/scale", np.array([2.0**stage.signal.fraction], np.float32))
        y = model.tensor("scores", np.float32, model.shape(x))
        x = model.cast(model.add("MUL", [x, scale], y, _options("MUL")), np.int32, stage.signal.fraction)
    return x if len(model.shape(x)) == 2 else reshaped(model, x, (int(np.prod(model.shape(x))),))


def _like(model: ModelBuilder, stage: Stage, x: int) -> int:
    """A tensor for an output of the type of an input."""
    dtype = model.dtype(x)
    if dtype == np.float32:
        return _sums(model, stage)
    return model.tensor(stage.name, dtype, (1, *stage.signal.shape), stage.signal.fraction)


def _sums(model: ModelBuilder, stage: Stage) -> int:
    """A float32 tensor for sums, whose integers it holds exactly."""
    if stage.sums.largest > _EXACT_IN_FLOAT32:
        raise UserError(
            f"LiteRT export: {stage.node.name}: its sums are too wide for float32, or to be rounded exactly"
        )
    return model.tensor(stage.node.name, np.float32, (1, *stage.sums.shape))


def _wide(model: ModelBuilder, x: int) -> int:
    return _dequantized(model, x) if model.dtype(x) == np.int8 else x


def _dequantized(model: ModelBuilder, x: int) -> int:
    y = model.tensor("wide", np.float32, model.shape(x))
    return model.add("DEQUANTIZE", [x], y, "DequantizeOptions", version=2)


def _rounded(model: ModelBuilder, stage: Stage, x: int) -> int:
    """float32 sums after the rounding of a stage."""
    rounding = stage.rounding
    if rounding.limit > _INT8:
        raise UserError(f"LiteRT export: {stage.name}: activations of more than 8 bits have no int8 form")
    if rounding.relu:
        x = model.add("RELU", [x], model.tensor(stage.name, np.float32, model.shape(x)))
    if rounding.limit == 0:
        return x
    y = model.tensor(stage.name, np.int8, model.shape(x), stage.signal.fraction)
    return _clipped(model, model.add("QUANTIZE", [x], y, "QuantizeOptions"), rounding)


def _clipped(model: ModelBuilder, x: int, rounding: Rounding) -> int:
    """int8 codes within the clip, where it is narrower than −128 to 127."""
    if rounding.limit < _INT8:
        x = _bound(model, "MINIMUM", x, rounding.limit)
    return x if rounding.relu else _bound(model, "MAXIMUM", x, -rounding.limit)


def _bound(model: ModelBuilder, kind: str, x: int, limit: int) -> int:
    fraction = model.fraction(x)
    y = model.tensor(f"{kind.lower()} {limit}", np.int8, model.shape(x), fraction)
    constant = model.constant(f"{kind.lower()} {limit}/limit", np.array([limit], np.int8), fraction)
    return model.add(kind, [x, constant], y, "MaximumMinimumOptions", version=2)


def _options(operation: str) -> str:
    return f"{operation.title()}Options"
