"""What every kind of node is in LiteRT. `KINDS` is the registry; see `litert` for the operations."""

from __future__ import annotations

import numpy as np

from wage_tf.errors import UserError
from wage_tf.export import litert_parts as parts
from wage_tf.export.flatbuffer import ModelBuilder
from wage_tf.export.stages import Rounding, Stage
from wage_tf.export.translation import registry
from wage_tf.integer.nodes import Dense


def _rescale(model: ModelBuilder, stage: Stage, x: int) -> int:
    node, fraction = stage.node, stage.signal.fraction
    if node.width > parts.WIDEST:
        raise UserError(f"LiteRT export: {node.name}: activations of more than 8 bits have no int8 form")
    table = model.constant(f"{node.name}/table", node.codes, fraction)
    y = model.tensor(node.name, np.int8, (1, *stage.signal.shape), fraction)
    return model.add("GATHER", [table, model.cast(x, np.int32)], y, "GatherOptions", version=2, axis=0)


def _product(model: ModelBuilder, stage: Stage, x: int) -> int:
    node = stage.node
    if node.kernel.width > parts.WIDEST:
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
    clipped = parts.EXACT_IN_FLOAT32 >> max(rounding.shift, 0) > rounding.limit
    exact = stage.sums.largest <= parts.EXACT_IN_FLOAT32 or clipped
    return 0 < rounding.limit <= parts.INT8 and -8 < rounding.shift <= 32 and exact and stage.product_shift == 0


def _quantized_product(model: ModelBuilder, stage: Stage, x: int) -> int:
    """Sums rounded within the operation."""
    node, rounding, fraction = stage.node, stage.rounding, stage.sums.fraction
    bias = model.constant(f"{node.name}/bias", parts.bias(node, fraction), fraction)
    y = model.tensor(stage.name, np.int8, (1, *stage.signal.shape), stage.signal.fraction)
    operands = [x, _weights(model, stage), bias]
    return parts.clipped(model, parts.linear(model, node, operands, y, rounding.relu), rounding)


def _matrix_product(model: ModelBuilder, stage: Stage, x: int) -> int:
    """int32 sums."""
    node, shape, fraction = stage.node, (1, *stage.signal.shape), stage.sums.fraction
    scale = node.kernel.log2_scale
    weights = model.constant(f"{node.name}/weights", node.kernel.codes, scale)
    y = model.tensor(node.name, np.int32, shape, stage.sources[0].fraction + scale)
    y = model.add("BATCH_MATMUL", [x, weights], y, "BatchMatMulOptions", version=2)
    scaled = [("MUL", np.array([1 << stage.product_shift], np.int32))] if stage.product_shift else []
    for operation, values in [*scaled, ("ADD", parts.bias(node, fraction))] if node.bias is not None else []:
        operands = [y, model.constant(f"{node.name}/{operation}", values)]
        y = model.add(operation, operands, model.tensor(node.name, np.int32, shape, fraction), _options(operation))
    return y


def _wide_product(model: ModelBuilder, stage: Stage, x: int) -> int:
    """float32 sums of the very integers, which are exact."""
    node, fraction = stage.node, stage.sums.fraction
    weights = parts.dequantized(model, _weights(model, stage))
    bias = model.constant(f"{node.name}/bias", (parts.bias(node, fraction) * 2.0**-fraction).astype(np.float32))
    operands = [_wide(model, x), weights, bias]
    return _rounded(model, stage, parts.linear(model, node, operands, _sums(model, stage), stage.rounding.relu))


def _weights(model: ModelBuilder, stage: Stage) -> int:
    return parts.weights(model, stage.node, stage.node.kernel.codes, stage.node.kernel.log2_scale)


def _average_pool(model: ModelBuilder, stage: Stage, x: int) -> int:
    operands, y, options = [_wide(model, x)], _sums(model, stage), parts.pool_options(stage.node.moving)
    return _rounded(model, stage, model.add("AVERAGE_POOL_2D", operands, y, "Pool2DOptions", **options))


def _add(model: ModelBuilder, stage: Stage, x: int, *others: int) -> int:
    y = _wide(model, x)
    for other in others:
        y = model.add("ADD", [y, _wide(model, other)], _sums(model, stage), _options("ADD"))
    return _rounded(model, stage, y)


def _round(model: ModelBuilder, stage: Stage, x: int) -> int:
    return _rounded(model, stage, _wide(model, x))


def _concatenate(model: ModelBuilder, stage: Stage, *inputs: int) -> int:
    if parts.same_codes(model, inputs):
        return parts.concatenate(model, stage, list(inputs), parts.like(model, stage, inputs[0]))
    return parts.concatenate(model, stage, [_wide(model, x) for x in inputs], _sums(model, stage))


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


def _sums(model: ModelBuilder, stage: Stage) -> int:
    """A float32 tensor for sums, whose integers it holds exactly."""
    if stage.sums.largest > parts.EXACT_IN_FLOAT32:
        raise UserError(
            f"LiteRT export: {stage.node.name}: its sums are too wide for float32, or to be rounded exactly"
        )
    return model.tensor(stage.node.name, np.float32, (1, *stage.sums.shape))


def _wide(model: ModelBuilder, x: int) -> int:
    return parts.dequantized(model, x) if model.dtype(x) == np.int8 else x


def _rounded(model: ModelBuilder, stage: Stage, x: int) -> int:
    """float32 sums after the rounding of a stage."""
    rounding = stage.rounding
    if rounding.limit > parts.INT8:
        raise UserError(f"LiteRT export: {stage.name}: activations of more than 8 bits have no int8 form")
    if rounding.relu:
        x = model.add("RELU", [x], model.tensor(stage.name, np.float32, model.shape(x)))
    return x if rounding.limit == 0 else parts.quantized(model, stage, x)


def _options(operation: str) -> str:
    return f"{operation.title()}Options"
