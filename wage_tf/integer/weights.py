"""Kernels and biases of Keras layers as integers."""

from __future__ import annotations

import keras
import numpy as np

from wage_tf.constraints import ClipToGrid, ClipToRange
from wage_tf.errors import UserError
from wage_tf.integer.arithmetic import code_dtype, fraction_bits, largest_code
from wage_tf.integer.graph import Graph
from wage_tf.integer.nodes import Bias, Kernel
from wage_tf.integer.tensors import Shape
from wage_tf.quantizers import BIAS_LIMIT


def codes_of(values: np.ndarray, fraction: int, what: str) -> np.ndarray:
    """The integers c, int64, with values = c·2^(−fraction) exactly.

    Raises:
        UserError: If a value is not such a multiple; `what` begins the message.
    """
    scaled = np.asarray(values, np.float64) * 2.0**fraction
    if not (np.isfinite(scaled).all() and (scaled == np.rint(scaled)).all()):
        raise UserError(f"{what}: not multiples of 2^-{fraction}")
    return scaled.astype(np.int64)


def integer_width(name: str, width: int | None, operand: str, letter: str) -> int:
    """The width of an operand.

    Raises:
        UserError: If it is float32.
    """
    if width is None:
        raise UserError(f"layer {name}: its {operand} are float32 (k_{letter} = f), not integers")
    return width


def kernel_of(layer: keras.Layer, name: str, variables: dict[int, int], shape: Shape | None = None) -> Kernel:
    """The kernel of a layer, in its own shape or another.

    Args:
        layer: A layer with a `quantized_kernel`.
        name: Its name in messages.
        variables: Places of the model's trainable variables, by their id.
        shape: Another shape of as many weights, in the same order.

    Raises:
        UserError: If its weights are float32.
    """
    width = integer_width(name, layer.bits.w, "weights", "W")
    alpha = int(np.log2(layer.alpha))
    codes = codes_of(layer.quantized_kernel, fraction_bits(width) + alpha, f"layer {name}: the quantized weights")
    constraint = layer.kernel.constraint
    is_clipped = type(constraint) is ClipToGrid
    clip = constraint.bits if is_clipped else width
    fraction = fraction_bits(max(width, layer.bits.g or width, clip))
    limit = largest_code(clip) << (fraction - fraction_bits(clip))
    accumulators = _accumulators(layer.kernel, fraction, limit) if is_clipped else None
    shape = codes.shape if shape is None else shape
    return Kernel(
        codes=codes.astype(code_dtype(largest_code(width))).reshape(shape),
        width=width,
        alpha=alpha,
        gradient_width=layer.bits.g,
        accumulators=None if accumulators is None else accumulators.reshape(shape),
        fraction=fraction,
        limit=limit,
        variable=variables.get(id(layer.kernel)),
    )


def bias_of(layer: keras.Layer, name: str, variables: dict[int, int]) -> Bias | None:
    """The bias of a layer, None where it has none; arguments as in `kernel_of`.

    Raises:
        UserError: If its weights or activations are float32, or its grid is coarser than 1.
    """
    if layer.bias is None:
        return None
    integer_width(name, layer.bits.a, "activations, on whose grid the bias lies,", "A")
    fraction = -int(np.log2(layer.bias_step))
    if fraction < 0:
        raise UserError(f"layer {name}: its bias has steps of {layer.bias_step}: alpha is too small")
    codes = codes_of(layer.quantized_bias, fraction, f"layer {name}: the quantized bias")
    constraint = layer.bias.constraint
    is_clipped = type(constraint) is ClipToRange and constraint.limit == BIAS_LIMIT
    limit = int(BIAS_LIMIT) << fraction
    return Bias(
        codes=codes.astype(code_dtype(limit)),
        gradient_width=layer.bits.g,
        fraction=fraction,
        limit=limit,
        variable=variables.get(id(layer.bias)),
        is_stored=is_clipped and _accumulators(layer.bias, fraction, limit) is not None,
    )


def _accumulators(variable: keras.Variable, fraction: int, limit: int) -> np.ndarray | None:
    """The stored values as integers; None where no integer training could have left them so."""
    try:
        stored = codes_of(variable.numpy(), fraction, variable.path)
    except UserError:
        return None
    return stored.astype(code_dtype(limit)) if np.abs(stored).max() <= limit else None


def assign(model: keras.Model, graph: Graph) -> None:
    """Writes the stored weights of a graph into the model that it was frozen from, or one built alike."""
    variables = model.trainable_variables
    for parameter in graph.parameters.values():
        if parameter.variable is not None and parameter.accumulators is not None:
            values = parameter.accumulators.astype(np.float32) * np.float32(2.0**-parameter.fraction)
            variable = variables[parameter.variable]
            variable.assign(values.reshape(variable.shape))
