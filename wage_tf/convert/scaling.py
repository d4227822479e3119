"""Powers of two that put given weights and the activations between them on WAGE's grids.

A ReLU network does not notice a scale: with y = relu(W·x + b) and any positive c,

    relu(2^f·W·(2^e·x)/2^e + 2^f·b) = 2^f·y

So each activation tensor gets an exponent e by which it fits the grid of Q_A, each kernel an exponent m by which it
fits the grid of Q_W, and the layer's constant takes up the rest:

    stored = 2^m·W,    α = 2^(m + e_in − e_out),    stored / α = 2^(e_out − e_in)·W,    bias = 2^(e_out)·b

The network computes the same function, its scores in the scale that they had, up to the rounding of the grids. Where
branches meet, and from a ReLU's or a pooling's input to its output, all tensors have one exponent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from wage_tf import ops
from wage_tf.bits import BitWidths
from wage_tf.convert.floating import FloatBatchNormalization, FloatLayer
from wage_tf.convert.folding import behind_kernels, in_order
from wage_tf.convert.steps import Activation, Pixels, Product, Step, cannot
from wage_tf.quantizers import BIAS_LIMIT, quantize_bias

FLOAT = BitWidths(None, None, None, None)
_CANDIDATES = 16
"""Powers of two that are tried, from the first that saturates nothing on."""


@dataclasses.dataclass(frozen=True)
class StoredWeights:
    """What a quantized layer starts from.

    Attributes:
        kernel: Float32, on the grid that the optimizer updates.
        bias: Float32, or None.
        alpha: The layer's constant, a power of two; None for float weights.
    """

    kernel: np.ndarray
    bias: np.ndarray | None
    alpha: float | None

    @property
    def arrays(self) -> list[np.ndarray]:
        """As Keras' layer takes them."""
        return [self.kernel] if self.bias is None else [self.kernel, self.bias]


@dataclasses.dataclass(frozen=True)
class FloatWeights:
    """What a float layer starts from."""

    arrays: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class PixelScale:
    """What brings the pixels to the exponent of the activations that they meet: pixel·scale + offset."""

    scale: float
    offset: float


Weights = dict[Step, StoredWeights | FloatWeights | PixelScale]
"""What the pixels, kernels and float layers start from."""


def best_exponent(tensors: Sequence[np.ndarray], widths: Sequence[int]) -> int:
    """The e by which 2^e·x loses least on its grid: argmin Σ_x ‖x − 2^(−e)·Q(2^e·x, k)‖² / ‖x‖².

    Args:
        tensors: The x, of any shapes; those that are all zero have no say.
        widths: k of each.

    Returns:
        The exponent, the largest of equally good ones; 0 where nothing has a say.
    """
    known = [(np.ravel(x).astype(np.float32), k) for x, k in zip(tensors, widths, strict=True) if np.any(x)]
    if not known:
        return 0
    coarsest = min(-int(np.ceil(np.log2(np.abs(x).max()))) for x, _ in known) - 1
    candidates = range(coarsest, coarsest + _CANDIDATES)
    return min(reversed(candidates), key=lambda e: sum(_loss(x, e, k) for x, k in known))


def _loss(x: np.ndarray, e: int, k: int) -> float:
    kept = ops.quantize(x * np.float32(2.0**e), k).numpy() * np.float32(2.0**-e)
    return float(np.sum((x - kept) ** 2, dtype=np.float64) / np.sum(x**2, dtype=np.float64))


def store(kernel: np.ndarray, bias: np.ndarray | None, e_in: int, e_out: int, bits: BitWidths) -> StoredWeights:
    """The weights of a layer between activations of given exponents: see the module.

    Stored weights are rounded to the grid of max(k_W, k_G) bits, on which the optimizer moves them, and clipped to
    ±(1 − σ(k_W)), where the layer keeps them; with k_G = f they are only clipped, with k_W = f they are not stored
    but used: 2^(e_out − e_in)·W. A bias is rounded to the finer of its layer's sums, σ(k_A)·σ(k_W)/α, and of k_G bits.

    Args:
        kernel: W, float.
        bias: b, or None.
        e_in: Exponent of the input's activations.
        e_out: Exponent of the output's.
        bits: Pattern of the layer.
    """
    bias = None if bias is None else (bias * 2.0**e_out).astype(np.float32)
    if bits.w is None:
        return StoredWeights((kernel * 2.0 ** (e_out - e_in)).astype(np.float32), bias, None)
    m = best_exponent([kernel], [bits.w])
    stored = (kernel * 2.0**m).astype(np.float32)
    if bits.g is not None:
        stored = ops.quantize(stored, max(bits.w, bits.g))
    alpha = 2.0 ** (m + e_in - e_out)
    if bias is not None and bits.a is not None:
        step = ops.step_size(bits.a) * ops.step_size(bits.w) / alpha
        bias = quantize_bias(bias, step if bits.g is None else min(step, ops.step_size(bits.g))).numpy()
    return StoredWeights(ops.clip(stored, bits.w).numpy(), bias, alpha)


def float_weights(output: Step) -> Weights:
    """The weights of a folded network as they are."""
    steps = in_order(output)
    return _weights(steps, dict.fromkeys(steps, 0), dict.fromkeys(steps, FLOAT))


def starting_weights(output: Step, samples: Mapping[Step, np.ndarray], widths: Mapping[Step, BitWidths]) -> Weights:
    """The starting weights of a folded network.

    Args:
        output: The network.
        samples: Values of every activation on some images, in the network's own scale.
        widths: Pattern of every step.

    Raises:
        UserError: If weights are not finite; if a last layer's bias goes beyond the largest of a quantized layer, to
            which those of hidden layers, whose activations end at ±1, are clipped; or if a kernel reads the scores too.
    """
    steps, last = in_order(output), behind_kernels(output)
    for step in steps:
        if isinstance(step, Product | FloatLayer):
            _check(step, widths[step], is_last=step in last)
    exponents = activation_exponents(output, samples, widths)
    if exponents[output]:
        reason = f"its scores would be 2^{exponents[output]} times as large, as the activations are that a kernel reads"
        raise cannot(output.name, reason, "end the model in a Dense or Conv2D, or convert with weights='fresh'")
    return _weights(steps, exponents, widths)


def _weights(steps: Sequence[Step], exponents: Mapping[Step, int], widths: Mapping[Step, BitWidths]) -> Weights:
    weights: Weights = {}
    for step in steps:
        factor = 2.0 ** exponents[step]
        if isinstance(step, Pixels):
            weights[step] = PixelScale(step.scale * factor, step.offset * factor)
        elif isinstance(step, Product):
            weights[step] = store(step.kernel, step.bias, exponents[step.inputs[0]], exponents[step], widths[step])
        elif isinstance(step, FloatLayer):
            weights[step] = FloatWeights(step.weights(2.0 ** exponents[step.inputs[0]], factor))
    return weights


def _check(step: Product | FloatLayer, bits: BitWidths, is_last: bool) -> None:
    bias = step.bias if isinstance(step, Product) and step.bias is not None else np.zeros(1)
    weights = [step.kernel, bias] if isinstance(step, Product) else step.weights(1.0, 1.0)
    if not all(np.isfinite(each).all() for each in weights):
        raise cannot(step.name, "its weights or batch normalization are not finite", "train the model again")
    if is_last and bits.w is not None and np.abs(bias).max() > BIAS_LIMIT:
        reason = f"its bias goes beyond ±{BIAS_LIMIT:g}, the largest of a quantized layer"
        raise cannot(step.name, reason, "scale the targets down, or convert with use_bias=False")


def activation_exponents(
    output: Step, samples: Mapping[Step, np.ndarray], widths: Mapping[Step, BitWidths]
) -> dict[Step, int]:
    """The exponent of every tensor: best for the activations among those that must have one; 0 where there are none.

    Pixels fill their grid at 0: what shares their exponent may lower it, not raise it.
    """
    groups = _groups(output)
    exponents: dict[int, int] = {}
    for group in set(groups.values()):
        members = [step for step, number in groups.items() if number == group]
        grids = [step for step in members if isinstance(step, Activation) and widths[step].a is not None]
        best = best_exponent([samples[step] for step in grids], [widths[step].a for step in grids])
        exponents[group] = min(best, 0) if any(isinstance(step, Pixels) for step in members) else best
    return {step: exponents[group] for step, group in groups.items()}


def _groups(output: Step) -> dict[Step, int]:
    """A number for every step; those with neither kernel nor batch normalization between them share it: one scale."""
    groups: dict[Step, int] = {}
    for number, step in enumerate(in_order(output)):
        groups[step] = number
        for before in () if isinstance(step, (Product, FloatBatchNormalization)) else step.inputs:
            merged = groups[before]
            groups = {each: number if group == merged else group for each, group in groups.items()}
    return groups
