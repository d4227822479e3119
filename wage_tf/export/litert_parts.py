"""What the two LiteRT forms have in common: operations of any type, and a product's weights and bias in a file."""

from __future__ import annotations

from typing import Any

import numpy as np

from wage_tf.export.flatbuffer import ModelBuilder
from wage_tf.export.stages import Rounding, Stage
from wage_tf.integer.linear import Window
from wage_tf.integer.nodes import Conv2D, Dense

WIDEST = 8
INT8 = 127
EXACT_IN_FLOAT32 = 2**24

_VERSIONS: dict[str, dict[type, int]] = {
    "CONCATENATION": {np.float32: 1, np.int8: 2, np.int16: 3},
    "CONV_2D": {np.float32: 1, np.int8: 3, np.int16: 4},
    "DEPTHWISE_CONV_2D": {np.float32: 2, np.int8: 3, np.int16: 5},
    "DEQUANTIZE": {np.int8: 2, np.int16: 3},
    "FULLY_CONNECTED": {np.float32: 1, np.int8: 4, np.int16: 7},
    "MAX_POOL_2D": {np.float32: 1, np.int8: 2, np.int16: 3},
    "PAD": {np.float32: 1, np.uint8: 1, np.int8: 2, np.int16: 4},
    "QUANTIZE": {np.float32: 1, np.int8: 2, np.int16: 2},
    "RELU": {np.float32: 1, np.int16: 3},
}


def version(operation: str, dtype: type) -> int:
    """Version of an operator that has this type."""
    return _VERSIONS[operation][dtype]


def linear(model: ModelBuilder, node: Conv2D | Dense, operands: list[int], y: int, relu: bool) -> int:
    """The convolution or matrix product of codes or float32 numbers, ReLU fused."""
    dtype = model.dtype(y)
    if isinstance(node, Dense):
        options, number = {"activation": _activation(relu)}, version("FULLY_CONNECTED", dtype)
        return model.add("FULLY_CONNECTED", operands, y, "FullyConnectedOptions", number, **options)
    options = convolution_options(node.window, node.dilation, relu)
    if not _is_depthwise(node):
        return model.add("CONV_2D", operands, y, "Conv2DOptions", version("CONV_2D", dtype), **options)
    options["depthMultiplier"] = node.kernel.codes.shape[3] // node.groups
    return depthwise(model, operands, y, options)


def depthwise(model: ModelBuilder, operands: list[int], y: int, options: dict[str, Any]) -> int:
    """The convolution of every channel with filters of its own."""
    number = version("DEPTHWISE_CONV_2D", model.dtype(y))
    return model.add("DEPTHWISE_CONV_2D", operands, y, "DepthwiseConv2DOptions", number, **options)


def weights(model: ModelBuilder, node: Conv2D | Dense, codes: np.ndarray, fraction: int) -> int:
    """The int8 weights as [units, inputs], [filters, h, w, channels / groups], or depthwise [1, h, w, filters]."""
    if isinstance(node, Dense):
        codes = codes.T
    else:
        codes = codes.transpose(2, 0, 1, 3) if _is_depthwise(node) else codes.transpose(3, 0, 1, 2)
    return model.constant(f"{node.name}/weights", codes, fraction)


def bias(node: Conv2D | Dense, fraction: int) -> np.ndarray:
    """Codes of the bias in units of sums of `fraction` bits, int32; zeros where there is none."""
    if node.bias is None:
        return np.zeros(node.kernel.codes.shape[-1], np.int32)
    return node.bias.codes.astype(np.int32) << (fraction - node.bias.fraction)


def convolution_options(window: Window, dilation: tuple[int, int], relu: bool) -> dict[str, Any]:
    """A convolution's options."""
    height, width = dilation
    options = {"dilationHFactor": height, "dilationWFactor": width, "activation": _activation(relu)}
    return {**_window_options(window), **options}


def pool_options(window: Window) -> dict[str, Any]:
    """A pooling's options."""
    height, width = window.size
    return {**_window_options(window), "filterHeight": height, "filterWidth": width}


def _window_options(window: Window) -> dict[str, Any]:
    height, width = window.strides
    return {"padding": window.padding, "strideH": height, "strideW": width}


def _activation(relu: bool) -> str:
    return "relu" if relu else "none"


def _is_depthwise(node: Conv2D) -> bool:
    return node.kernel.codes.shape[2] == 1 and node.groups > 1


def _max_pool(model: ModelBuilder, stage: Stage, x: int) -> int:
    return max_pool(model, x, like(model, stage, x), stage.node.moving)


def _zero_pad(model: ModelBuilder, stage: Stage, x: int) -> int:
    pads = np.array([(0, 0), stage.node.rows, stage.node.columns, (0, 0)], np.int32)
    operands = [x, model.constant(f"{stage.name}/pads", pads)]
    return model.add("PAD", operands, like(model, stage, x), "PadOptions", version("PAD", model.dtype(x)))


def _reshape(model: ModelBuilder, stage: Stage, x: int) -> int:
    return reshaped(model, x, stage.signal.shape)


SHAPING = {"max_pool": _max_pool, "zero_pad": _zero_pad, "reshape": _reshape}
"""The kinds that do the same to codes and to sums."""


def max_pool(model: ModelBuilder, x: int, y: int, window: Window) -> int:
    """The largest of every window of x."""
    return model.add(
        "MAX_POOL_2D", [x], y, "Pool2DOptions", version("MAX_POOL_2D", model.dtype(x)), **pool_options(window)
    )


def concatenate(model: ModelBuilder, stage: Stage, inputs: list[int], y: int) -> int:
    """Inputs of one type and scale side by side."""
    number = version("CONCATENATION", model.dtype(y))
    return model.add("CONCATENATION", inputs, y, "ConcatenationOptions", number, axis=stage.node.axis + 1)


def reshaped(model: ModelBuilder, x: int, shape: tuple[int, ...]) -> int:
    """The same numbers in another shape."""
    y = model.tensor("reshaped", model.dtype(x), (1, *shape), model.fraction(x))
    sizes = model.constant("reshaped/shape", np.array([-1, *shape], np.int32))
    return model.add("RESHAPE", [x, sizes], y, "ReshapeOptions", newShape=[-1, *shape])


def scores(model: ModelBuilder, x: int, stage: Stage) -> int:
    """The output as codes [1, outputs], int8 or int32."""
    if model.dtype(x) == np.float32:
        scale = model.constant("scores/scale", np.array([2.0**stage.signal.fraction], np.float32))
        x = model.cast(binary(model, "MUL", x, scale), np.int32, stage.signal.fraction)
    return x if len(model.shape(x)) == 2 else reshaped(model, x, (int(np.prod(model.shape(x))),))


def binary(model: ModelBuilder, operation: str, x: int, other: int) -> int:
    """ADD, SUB or MUL of float32 numbers; the other may be a constant."""
    y = model.tensor(operation, np.float32, model.shape(x))
    return model.add(operation, [x, other], y, f"{operation.title()}Options")


def like(model: ModelBuilder, stage: Stage, x: int) -> int:
    """A tensor for an output of the type of an input."""
    fraction = None if model.fraction(x) is None else stage.signal.fraction
    return model.tensor(stage.name, model.dtype(x), (1, *stage.signal.shape), fraction)


def same_codes(model: ModelBuilder, inputs: tuple[int, ...]) -> bool:
    """Whether all are int8 codes of one scale."""
    return all(model.dtype(x) == np.int8 for x in inputs) and len({model.fraction(x) for x in inputs}) == 1


def dequantized(model: ModelBuilder, x: int) -> int:
    """Codes or sums as float32."""
    y = model.tensor("wide", np.float32, model.shape(x))
    return model.add("DEQUANTIZE", [x], y, "DequantizeOptions", version("DEQUANTIZE", model.dtype(x)))


def quantized(model: ModelBuilder, stage: Stage, x: int) -> int:
    """Numbers as the int8 codes that a stage gives, within its clip."""
    y = model.tensor(stage.name, np.int8, model.shape(x), stage.signal.fraction)
    number = version("QUANTIZE", model.dtype(x))
    return clipped(model, model.add("QUANTIZE", [x], y, "QuantizeOptions", number), stage.rounding)


def requantized(model: ModelBuilder, x: int, dtype: type) -> int:
    """The same integers in a wider type."""
    y = model.tensor("wider", dtype, model.shape(x), model.fraction(x))
    return model.add("QUANTIZE", [x], y, "QuantizeOptions", version("QUANTIZE", model.dtype(x)))


def clipped(model: ModelBuilder, x: int, rounding: Rounding) -> int:
    """int8 codes within the clip, where it is narrower than −128 to 127."""
    if rounding.limit < INT8:
        x = _bound(model, "MINIMUM", x, rounding.limit)
    return x if rounding.relu else _bound(model, "MAXIMUM", x, -rounding.limit)


def _bound(model: ModelBuilder, kind: str, x: int, limit: int) -> int:
    fraction = model.fraction(x)
    y = model.tensor(f"{kind.lower()} {limit}", np.int8, model.shape(x), fraction)
    constant = model.constant(f"{kind.lower()} {limit}/limit", np.array([limit], np.int8), fraction)
    return model.add(kind, [x, constant], y, "MaximumMinimumOptions", version=2)
