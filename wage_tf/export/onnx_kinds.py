"""What every kind of node is in ONNX. `KINDS` is the registry; see `onnx` for the operations."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from wage_tf.errors import UserError
from wage_tf.export.onnx_builder import ModelBuilder, Value
from wage_tf.export.stages import Rounding, Stage
from wage_tf.export.translation import registry
from wage_tf.integer.linear import Window
from wage_tf.integer.nodes import Conv2D, Dense

_WIDEST = 8
_LARGEST_CODE = 127
_ZERO = 128
"""What stands for 0 among uint8 codes."""

_EXACT_IN_FLOAT32 = 2**24


def _rescale(model: ModelBuilder, stage: Stage, x: Value) -> Value:
    node = stage.node
    if node.width > _WIDEST:
        raise UserError(f"ONNX export: {node.name}: activations of more than 8 bits have no uint8 form")
    y = model.add("Gather", [model.constant(_codes(node.codes)), model.cast(x.name, np.int32)])
    return Value(y, np.uint8, stage.signal.shape, _ZERO)


def _product(model: ModelBuilder, stage: Stage, x: Value) -> Value:
    node = stage.node
    if node.kernel.width > _WIDEST:
        raise UserError(f"ONNX export: {node.name}: weights of more than 8 bits have no uint8 form")
    kind, options, codes = "MatMul", {}, node.kernel.codes
    if isinstance(node, Conv2D):
        kind, codes = "Conv", codes.transpose(3, 2, 0, 1)
        options = {**_window(node.window, stage), "dilations": list(node.dilation), "group": node.groups}
    if x.dtype == np.uint8:
        zeros = [model.scalar(x.zero, np.uint8), model.scalar(_ZERO, np.uint8)]
        sums = model.add(f"{kind}Integer", [x.name, model.constant(_codes(codes)), *zeros], **options)
    elif stage.sums.largest <= _EXACT_IN_FLOAT32:
        floats = [model.cast(x.name, np.float32), model.constant(codes.astype(np.float32))]
        sums = model.cast(model.add(kind, floats, **options), np.int32)
    else:
        raise UserError(f"ONNX export: {node.name}: its sums are too wide for float32")
    y = _scaled(model, Value(sums, np.int32, stage.sums.shape), stage.product_shift)
    if node.bias is not None:
        bias = node.bias.codes.astype(np.int32) << (stage.sums.fraction - node.bias.fraction)
        bias = bias if isinstance(node, Dense) else bias[:, None, None]
        y = dataclasses.replace(y, name=model.add("Add", [y.name, model.constant(bias)]))
    return _rounded(model, stage, y)


def _window(window: Window, stage: Stage) -> dict[str, list[int]]:
    (top, bottom), (left, right) = window.pads(stage.sources[0].shape)
    return {"kernel_shape": list(window.size), "strides": list(window.strides), "pads": [top, left, bottom, right]}


def _max_pool(model: ModelBuilder, stage: Stage, x: Value) -> Value:
    """int32 sums go through a float type that holds them, since MaxPool takes none."""
    options = _window(stage.node.moving, stage)
    if x.dtype == np.uint8:
        return Value(model.add("MaxPool", [x.name], **options), np.uint8, stage.signal.shape, x.zero)
    floats = model.cast(x.name, _float_for(stage.signal.largest))
    return Value(model.cast(model.add("MaxPool", [floats], **options), np.int32), np.int32, stage.signal.shape)


def _average_pool(model: ModelBuilder, stage: Stage, x: Value) -> Value:
    """A mean of 2^n integers and its product with 2^n are exact."""
    dtype = _float_for(stage.sums.largest)
    means = model.add("AveragePool", [model.cast(_sums(model, x).name, dtype)], **_window(stage.node.moving, stage))
    total = model.add("Mul", [means, model.scalar(stage.node.area, dtype)])
    return _rounded(model, stage, Value(model.cast(total, np.int32), np.int32, stage.sums.shape))


def _add(model: ModelBuilder, stage: Stage, *inputs: Value) -> Value:
    total, *others = _aligned(model, stage, inputs)
    for other in others:
        total = dataclasses.replace(total, name=model.add("Add", [total.name, other.name]))
    return _rounded(model, stage, total)


def _round(model: ModelBuilder, stage: Stage, x: Value) -> Value:
    return _rounded(model, stage, _sums(model, x))


def _concatenate(model: ModelBuilder, stage: Stage, *inputs: Value) -> Value:
    same = all(x.dtype == np.uint8 for x in inputs) and len({source.fraction for source in stage.sources}) == 1
    parts = inputs if same and len({x.zero for x in inputs}) == 1 else _aligned(model, stage, inputs)
    axis = stage.node.axis
    place = (axis + 1) % 3 + 1 if len(stage.signal.shape) == 3 else axis + 1
    y = model.add("Concat", [part.name for part in parts], axis=place)
    return dataclasses.replace(parts[0], name=y, shape=stage.signal.shape)


def _zero_pad(model: ModelBuilder, stage: Stage, x: Value) -> Value:
    (top, bottom), (left, right) = stage.node.rows, stage.node.columns
    pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    y = model.add("Pad", [x.name, model.constant(pads), model.scalar(x.zero, x.dtype)])
    return dataclasses.replace(x, name=y, shape=stage.signal.shape)


def _reshape(model: ModelBuilder, stage: Stage, x: Value) -> Value:
    return _reshaped(model, x, stage.signal.shape)


KINDS = registry(
    rescale=_rescale,
    product=_product,
    max_pool=_max_pool,
    average_pool=_average_pool,
    add=_add,
    rounding=_round,
    concatenate=_concatenate,
    zero_pad=_zero_pad,
    reshape=_reshape,
)
"""What every kind adds to a model: from the stage and the values of its inputs to that of its output."""


def scores(model: ModelBuilder, x: Value) -> Value:
    """The output as codes, int32 [batch, outputs]."""
    return _sums(model, _reshaped(model, x, (math.prod(x.shape),)))


def _codes(codes: np.ndarray) -> np.ndarray:
    return (codes.astype(np.int16) + _ZERO).astype(np.uint8)


def _reshaped(model: ModelBuilder, x: Value, shape: tuple[int, ...]) -> Value:
    """The same numbers in another shape, in the order of images with their channels last."""
    if x.shape == shape:
        return x
    flat = model.to_channels_last(x)
    sizes = model.constant(np.array([-1, *shape], np.int64))
    return model.to_channels_first(dataclasses.replace(x, name=model.add("Reshape", [flat.name, sizes]), shape=shape))


def _sums(model: ModelBuilder, x: Value) -> Value:
    """Codes as int32."""
    if x.dtype == np.int32:
        return x
    y = model.cast(x.name, np.int32)
    return Value(model.add("Sub", [y, model.scalar(x.zero, np.int32)]) if x.zero else y, np.int32, x.shape)


def _scaled(model: ModelBuilder, x: Value, bits: int) -> Value:
    """Sums times 2^bits."""
    return (
        x if bits == 0 else dataclasses.replace(x, name=model.add("Mul", [x.name, model.scalar(1 << bits, np.int32)]))
    )


def _aligned(model: ModelBuilder, stage: Stage, inputs: tuple[Value, ...]) -> list[Value]:
    """Inputs as int32 of one fraction."""
    largest = max(source.fraction for source in stage.sources)
    pairs = zip(inputs, stage.sources, strict=True)
    return [_scaled(model, _sums(model, x), largest - source.fraction) for x, source in pairs]


def _float_for(largest: int) -> type:
    return np.float32 if largest <= _EXACT_IN_FLOAT32 else np.float64


def _rounded(model: ModelBuilder, stage: Stage, x: Value) -> Value:
    """int32 sums after the rounding of a stage."""
    rounding = stage.rounding
    if rounding == Rounding():
        return x
    if rounding.limit > _LARGEST_CODE:
        raise UserError(f"ONNX export: {stage.name}: activations of more than 8 bits have no uint8 form")
    if rounding.limit == 0:
        y = model.add("Max", [x.name, model.scalar(0, np.int32)])
        return dataclasses.replace(x, name=y)
    dtype = _float_for(stage.sums.largest)
    y = model.add("Mul", [model.cast(x.name, dtype), model.scalar(2.0**-rounding.shift, dtype)])
    if rounding.shift > 0:
        y = model.add("Round", [y])
    smallest = 0 if rounding.relu else -rounding.limit
    y = model.add("Clip", [y, model.scalar(smallest, dtype), model.scalar(rounding.limit, dtype)])
    y = model.cast(model.add("Add", [y, model.scalar(_ZERO, dtype)]), np.uint8)
    return Value(y, np.uint8, stage.signal.shape, _ZERO)
