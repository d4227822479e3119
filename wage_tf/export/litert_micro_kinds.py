"""What every kind of node is in LiteRT for Microcontrollers. `KINDS` is the registry; see `litert_micro`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from wage_tf.errors import UserError
from wage_tf.export import litert_parts as parts
from wage_tf.export.flatbuffer import ModelBuilder
from wage_tf.export.stages import Stage, tight_signal
from wage_tf.export.translation import registry
from wage_tf.integer.linear import Window
from wage_tf.integer.nodes import Dense, Node
from wage_tf.integer.tensors import Signal

_HALF = 2**15
_INT16 = _HALF - 1
_WINDOW = 2**16 - 1
_MOST_WINDOWS = 4
_MOST_DENSE_WINDOWS = 64
_MOST_ALIGNED = 13
_MANTISSA = 23


def _rescale(model: ModelBuilder, stage: Stage, x: int) -> int:
    """Nothing: the caller has looked the codes up."""
    return x


def _product(model: ModelBuilder, stage: Stage, x: int, *others: int) -> int:
    """A product, with what `stages.fused` does to its sums: their pooling, or what is added to them."""
    node, own = stage.node, tight_signal(stage.node, stage.sources[:1])
    scale = own.fraction - stage.sources[0].fraction
    codes = node.kernel.codes.astype(np.int32) << (scale - node.kernel.log2_scale)
    if node.kernel.width > parts.WIDEST or np.abs(codes).max() > parts.INT8:
        raise _refusal(node, "weights of more than 8 bits, in units of a finer bias too, have no int8 form")
    x, weights = _int16(model, stage, x), parts.weights(model, node, codes.astype(np.int8), scale)
    bias = parts.bias(node, own.fraction).astype(np.int64)

    def sums(centre: int, relu: bool) -> int:
        operands = [x, weights, model.constant(f"{node.name}/bias", bias - centre, own.fraction)]
        y = parts.linear(model, node, operands, _sums(model, stage, own), relu)
        if stage.pool == (1, 1):
            return y
        pooled = _sums(model, stage, own.reshaped(stage.signal.shape))
        return parts.max_pool(model, y, pooled, Window(stage.pool, stage.pool, "valid"))

    return _added(model, stage, [_in_windows(model, stage, own, sums, stage.sources[1:]), *others])


def _average_pool(model: ModelBuilder, stage: Stage, x: int) -> int:
    """The sum of a window: a convolution of every channel with ones."""
    node, channels = stage.node, stage.signal.shape[2]
    x = _int16(model, stage, x)
    ones = model.constant(f"{node.name}/ones", np.ones((1, *node.window, channels), np.int8), node.log2_area)

    def sums(centre: int, relu: bool) -> int:
        bias = model.constant(f"{node.name}/bias", np.full(channels, -centre, np.int64), stage.sums.fraction)
        options = parts.convolution_options(node.moving, (1, 1), relu) | {"depthMultiplier": 1}
        return parts.depthwise(model, [x, ones, bias], _sums(model, stage, stage.sums), options)

    return _rounded(model, stage, _in_windows(model, stage, stage.sums, sums))


def _in_windows(
    model: ModelBuilder, stage: Stage, own: Signal, sums: Callable[[int, bool], int], others: Sequence[Signal] = ()
) -> int:
    """Exact sums, where they matter, of an operation whose outputs saturate at 16 bits.

    Where [low, high] is wider than int16, the operation is done for several windows of 2^16 − 1 values side by side,
    each around a centre that its bias subtracts. What saturates above and below adds up: with K centres
    x = Σ sat(x − centre) + low + K·2^15 for every x from low to high. That sum is float32.

    Args:
        model: Takes the operations.
        stage: Whose they are.
        own: What is known of the sums.
        sums: Adds the operation with a centre subtracted, and with ReLU fused or not.
        others: What is added to the sums afterwards.
    """
    low, high = _span(stage, own, others)
    if low >= -_HALF and high <= _INT16:
        return sums(0, stage.rounding.relu and not others)
    count = math.ceil((high - low) / _WINDOW)
    most = _MOST_DENSE_WINDOWS if isinstance(stage.node, Dense) else _MOST_WINDOWS
    if count > most:
        raise _refusal(stage.node, f"its sums need {count} windows of 16 bits, more than {most}")
    first = np.array([(low + count * _HALF) * 2.0**-own.fraction], np.float32)
    y = model.constant(f"{stage.name}/first", first)
    for centre in range(low + _HALF, low + _HALF + count * _WINDOW, _WINDOW):
        y = parts.binary(model, "ADD", parts.dequantized(model, sums(centre, False)), y)
    return y


def _span(stage: Stage, own: Signal, others: Sequence[Signal]) -> tuple[int, int]:
    """The smallest and the largest sum that is neither beyond its bound nor clipped whatever is added to it."""
    rounding, fraction, bound = stage.rounding, stage.sums.fraction, own.largest
    if rounding.limit > 0:
        rest = sum(other.largest << (fraction - other.fraction) for other in others)
        bound = min(bound, math.ceil((_clip(stage) + rest) * 2.0 ** (own.fraction - fraction)))
    return 0 if rounding.relu and not others else -bound, bound


def _clip(stage: Stage) -> float:
    """The size from which sums are clipped; infinite where they are not."""
    rounding = stage.rounding
    return (rounding.limit + 0.5) * 2.0**rounding.shift if rounding.limit > 0 else math.inf


def _add(model: ModelBuilder, stage: Stage, *inputs: int) -> int:
    return _added(model, stage, list(inputs))


def _added(model: ModelBuilder, stage: Stage, terms: list[int]) -> int:
    """The sum of the terms, and its rounding."""
    if len(terms) == 1:
        return _rounded(model, stage, terms[0])
    bound, fraction = stage.sums.largest, stage.sums.fraction
    fits = bound <= _INT16 or (len(terms) == 2 and _clip(stage) <= _INT16)
    near = all(model.fraction(x) is not None and fraction - model.fraction(x) <= _MOST_ALIGNED for x in terms)
    if fits and near:
        terms = [_int16(model, stage, x) for x in terms]
        y = terms[0]
        for x in terms[1:]:
            y = model.add("ADD", [y, x], _sums(model, stage, stage.sums), "AddOptions", 3, potScaleInt16=False)
    elif bound > parts.EXACT_IN_FLOAT32:
        raise _refusal(stage.node, "its sums are too wide for float32, or to be rounded exactly")
    else:
        y, *rest = (_float32(model, x) for x in terms)
        for x in rest:
            y = parts.binary(model, "ADD", y, x)
    return _rounded(model, stage, _positive(model, y) if stage.rounding.relu else y)


def _round(model: ModelBuilder, stage: Stage, x: int) -> int:
    return _rounded(model, stage, _positive(model, x) if stage.rounding.relu else x)


def _concatenate(model: ModelBuilder, stage: Stage, *inputs: int) -> int:
    if not parts.same_codes(model, inputs):
        inputs = tuple(_float32(model, x) for x in inputs)
    return parts.concatenate(model, stage, list(inputs), parts.like(model, stage, inputs[0]))


KINDS = registry(
    **parts.SHAPING,
    rescale=_rescale,
    product=_product,
    average_pool=_average_pool,
    add=_add,
    rounding=_round,
    concatenate=_concatenate,
)
"""What every kind adds to a model: from the stage and the tensors of its inputs to that of its output."""


def scores(model: ModelBuilder, x: int, stage: Stage) -> int:
    """The output as codes [1, outputs], int8 or int32."""
    if model.dtype(x) == np.int16:
        x = parts.requantized(model, x, np.int32)
    return parts.scores(model, x, stage)


def _rounded(model: ModelBuilder, stage: Stage, x: int) -> int:
    """Sums after the rounding of a stage, its ReLU done.

    Half to even is what float32 does by itself: there c + 1.5·2^23 has no fraction bits, for every |c| < 2^22.
    """
    rounding = stage.rounding
    if rounding.limit == 0:
        return x
    if rounding.limit > parts.INT8:
        raise _refusal(stage.node, "activations of more than 8 bits have no int8 form")
    x = _float32(model, x)
    if rounding.shift > 0:
        values = np.array([1.5 * 2.0 ** (_MANTISSA - stage.signal.fraction)], np.float32)
        whole = model.constant(f"{stage.name}/whole", values)
        x = parts.binary(model, "SUB", parts.binary(model, "ADD", x, whole), whole)
    return parts.quantized(model, stage, x)


def _int16(model: ModelBuilder, stage: Stage, x: int) -> int:
    """Codes or sums as int16."""
    if model.dtype(x) != np.float32:
        return x if model.dtype(x) == np.int16 else parts.requantized(model, x, np.int16)
    source = stage.sources[0]
    if source.largest > _INT16:
        raise _refusal(stage.node, "what it takes passes 16 bits")
    y = model.tensor("narrow", np.int16, model.shape(x), source.fraction)
    return model.add("QUANTIZE", [x], y, "QuantizeOptions")


def _float32(model: ModelBuilder, x: int) -> int:
    return x if model.dtype(x) == np.float32 else parts.dequantized(model, x)


def _positive(model: ModelBuilder, x: int) -> int:
    x = x if model.dtype(x) == np.int16 else _float32(model, x)
    y = model.tensor("relu", model.dtype(x), model.shape(x), model.fraction(x))
    return model.add("RELU", [x], y, version=parts.version("RELU", model.dtype(x)))


def _sums(model: ModelBuilder, stage: Stage, signal: Signal) -> int:
    return model.tensor(stage.name, np.int16, (1, *signal.shape), signal.fraction)


def _refusal(node: Node, reason: str) -> UserError:
    return UserError(f"LiteRT Micro export: {node.name}: {reason}")
