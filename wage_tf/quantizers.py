"""The four operators of WAGE: Q_W, Q_A, Q_E and Q_G, with the gradients that training needs.

Each is a function of float32 tensors whose results lie on a k-bit grid (`ops.quantize`); `bits` is a BitWidths, a
pattern such as "2-8-8-8", or the operand's own width (None or "f" leaves the operand in float32).
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable

import tensorflow as tf

from wage_tf import ops, replicas
from wage_tf.bits import BitWidths, width_of
from wage_tf.fusion import fused

Bits = BitWidths | str | int | None
BIAS_LIMIT = 8.0
"""Largest bias: activations end at ±1, and a sum far beyond the limit is clipped whatever is added to it."""


def quantize_weight(w: tf.Tensor, bits: Bits, alpha: float = 1.0) -> tf.Tensor:
    """Q_W: weights on the k_W-bit grid, divided by the layer's constant (paper, eq. 8 to 10).

    Forward: W_q = Q(W, k_W) / α. Backward: straight-through, dL/dW = dL/dW_q, with neither 1/α nor a mask.

    Args:
        w: Float32 stored weights, any shape.
        bits: Pattern or width of W.
        alpha: Power of two by which the layer's weights are scaled down, at least 1 by the initialization.

    Returns:
        Float32 tensor of the same shape.

    Raises:
        ValueError: If `alpha` is not a positive power of two.
    """
    k = width_of(bits, "w")
    check_alpha(alpha)
    w = ops.as_float32(w, "w")
    return w if k is None else _straight_through(_weight_forward(w, k=k, alpha=float(alpha)), w)


def quantize_bias(b: tf.Tensor, step: float) -> tf.Tensor:
    """A bias on the grid of the sums that it is added to; the paper has none.

    Forward: b_q = clip(step·round(b / step), ±8), half to even. Backward: straight-through.

    Args:
        b: Float32 stored bias, any shape.
        step: Distance of two neighbouring sums, a power of two.

    Returns:
        Float32 tensor of the same shape.
    """
    b = ops.as_float32(b, "b")
    return _straight_through(_bias_forward(b, step=float(step)), b)


def quantize_activation(a: tf.Tensor, bits: Bits) -> tf.Tensor:
    """Q_A: activations on the k_A-bit grid (paper, eq. 11).

    Forward: a_q = Q(a, k_A). Backward: the gradient passes where |a| ≤ 1 − σ(k_A) and is zero outside.

    Args:
        a: Float32 activations, any shape.
        bits: Pattern or width of A.

    Returns:
        Float32 tensor of the same shape.
    """
    k = width_of(bits, "a")
    a = ops.as_float32(a, "a")
    if k is None:
        return a

    @tf.custom_gradient
    def quantized(a: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        return _activation_forward(a, k=k), lambda upstream: _activation_backward(upstream, a, k=k)

    return quantized(a)


def quantize_error(x: tf.Tensor, bits: Bits, gamma: float = 1.0) -> tf.Tensor:
    """Q_E: the identity, whose backward pass puts the error on the k_E-bit grid (paper, eq. 12).

    Forward: x. Backward: e_q = Shift·Q(e / Shift, k_E), Shift = Shift(max|e|), the maximum over the whole tensor, batch
    included; under a `tf.distribute` strategy over the whole global batch. Errors that are all zero stay zero. The
    paper prints no factor Shift in front: in a chain it changes no code, since every later maximum absorbs it; where
    errors of branches meet, and for float parameters, it keeps their true size.

    Args:
        x: Float32 tensor, any shape.
        bits: Pattern or width of E.
        gamma: γ, a power of two that shifts the errors' upper bound, s·Q(e / s, k_E) with s = Shift/γ: the paper's
            section 4.4 finds that 1 is best.

    Returns:
        `x` unchanged.
    """
    k = width_of(bits, "e")
    x = ops.as_float32(x, "x")
    if k is None:
        return x

    @tf.custom_gradient
    def quantized(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        return tf.identity(x), lambda upstream: error_backward(upstream, k=k, gamma=gamma)

    return quantized(x)


def quantized_relu(x: tf.Tensor, bits: BitWidths | str) -> tf.Tensor:
    """ReLU, Q_E and Q_A of a hidden layer in one pass forward and one backward.

    Equal to `quantize_activation(quantize_error(tf.nn.relu(x), bits), bits)`. Forward: Q(max(x, 0), k_A). Backward:
    Q_A's mask, then Q_E over all that is left, then ReLU's mask. Between the passes one byte per element is kept.

    Args:
        x: Float32 pre-activations, any shape.
        bits: Pattern with integer widths for A and E.

    Returns:
        Float32 tensor of the same shape.
    """
    bits = BitWidths.parse(bits)

    @tf.custom_gradient
    def quantized(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        activation, gate = _relu_forward(x, k=bits.a)
        return activation, lambda upstream: _relu_backward(upstream, gate, k=bits.e)

    return quantized(ops.as_float32(x, "x"))


def quantize_gradient(
    g: tf.Tensor, bits: Bits, learning_rate: float | tf.Tensor, seed: tf.Tensor, random_width: int = 16
) -> tf.Tensor:
    """Q_G: the weight gradient as an integer update on the k_G-bit grid (paper, eq. 13 to 15).

    g_s = η·g / Shift(max|g|),    ΔW = σ(k_G)·sgn(g_s)·(⌊|g_s|⌋ + Bernoulli(frac|g_s|))

    A gradient of zeros gives zeros. With k_G = f it is plain SGD: ΔW = η·g.

    Args:
        g: Float32 gradient summed over the batch, any shape.
        bits: Pattern or width of G.
        learning_rate: η, a power of two in the paper.
        seed: A pair of integers or an int32 tensor of two, of its own for every step and variable.
        random_width: Bits of the random integers that decide the rounding; 16 in the paper.

    Returns:
        ΔW, to be subtracted from the weights; float32, shape of `g`.
    """
    k = width_of(bits, "g")
    g = ops.as_float32(g, "g")
    learning_rate = tf.convert_to_tensor(learning_rate, tf.float32)
    if k is None:
        return learning_rate * g
    return _gradient_step(g, learning_rate, ops.as_seed(seed), k=k, random_width=random_width)


def check_alpha(alpha: float) -> float:
    """Returns a layer's constant if it is one: a positive power of two, by which an integer machine shifts.

    Raises:
        ValueError: If it is not.
    """
    return _power_of_two("alpha", alpha)


def check_gamma(gamma: float) -> float:
    """Returns γ, which shifts the errors' upper bound, if it is one: a positive power of two.

    Raises:
        ValueError: If it is not.
    """
    return _power_of_two("gamma", gamma)


def _power_of_two(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or value <= 0 or math.frexp(value)[0] != 0.5:
        raise ValueError(f"{name}: a positive power of two; received {value!r}")
    return float(value)


@tf.custom_gradient
def _straight_through(quantized: tf.Tensor, latent: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    return tf.identity(quantized), lambda upstream: (None, upstream)


@fused
def _weight_forward(w: tf.Tensor, *, k: int, alpha: float) -> tf.Tensor:
    return ops.quantize(w, k) * (1.0 / alpha)


@fused
def _bias_forward(b: tf.Tensor, *, step: float) -> tf.Tensor:
    return tf.clip_by_value(tf.round(b * (1.0 / step)) * step, -BIAS_LIMIT, BIAS_LIMIT)


@fused
def _activation_forward(a: tf.Tensor, *, k: int) -> tf.Tensor:
    return ops.quantize(a, k)


@fused
def _activation_backward(upstream: tf.Tensor, a: tf.Tensor, *, k: int) -> tf.Tensor:
    return tf.where(tf.abs(a) > ops.largest_value(k), tf.zeros_like(upstream), upstream)


def error_backward(upstream: tf.Tensor, *, k: int, gamma: float = 1.0) -> tf.Tensor:
    """Q_E itself, Shift·Q(e / Shift, k), float32 of the same shape; Shift = Shift(max|e|) over all replicas."""
    return _error_backward(upstream, replicas.maximum(_max_magnitude(upstream)), k=k, gamma=gamma)


@fused
def _error_backward(upstream: tf.Tensor, magnitude: tf.Tensor, *, k: int, gamma: float) -> tf.Tensor:
    return ops.quantize_by_shift(upstream, k, magnitude, gamma)


@fused
def _max_magnitude(x: tf.Tensor) -> tf.Tensor:
    return ops.max_magnitude(x)


_CLOSED, _OPEN, _SATURATED = 0, 1, 2


@fused
def _relu_forward(x: tf.Tensor, *, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    gate = tf.where(x <= 0, _CLOSED, _OPEN)
    gate = tf.where(x > ops.largest_value(k), _SATURATED, gate)
    return ops.quantize(tf.nn.relu(x), k), tf.cast(gate, tf.int8)


def _relu_backward(upstream: tf.Tensor, gate: tf.Tensor, *, k: int) -> tf.Tensor:
    return _relu_gated(upstream, gate, replicas.maximum(_unsaturated_magnitude(upstream, gate)), k=k)


@fused
def _relu_gated(upstream: tf.Tensor, gate: tf.Tensor, magnitude: tf.Tensor, *, k: int) -> tf.Tensor:
    error = ops.quantize_by_shift(_unsaturated(upstream, gate), k, magnitude)
    return tf.where(gate == _CLOSED, tf.zeros_like(error), error)


@fused
def _unsaturated_magnitude(upstream: tf.Tensor, gate: tf.Tensor) -> tf.Tensor:
    return ops.max_magnitude(_unsaturated(upstream, gate))


def _unsaturated(upstream: tf.Tensor, gate: tf.Tensor) -> tf.Tensor:
    return tf.where(gate == _SATURATED, tf.zeros_like(upstream), upstream)


@fused
def _gradient_step(g: tf.Tensor, learning_rate: tf.Tensor, seed: tf.Tensor, *, k: int, random_width: int) -> tf.Tensor:
    scaled = ops.scale_by_shift(g) * learning_rate
    return ops.stochastic_round(scaled, tf.reshape(seed, [2]), random_width) * ops.step_size(k)
