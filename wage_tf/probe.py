"""Measures the quantized tensors of a model on a fixed batch, outside the training step.

One forward and one backward pass count how often each integer code of W, A, E and G occurs. Nothing is trained and no
state changes; the update is computed as the optimizer would make it at its next step.
"""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from wage_tf import ops
from wage_tf.layers import QActivation, QError, QRescaling
from wage_tf.optimizers import IntegerSGD

_FLOAT_BINS = 61
_WIDEST_GRID = 8


@dataclasses.dataclass(frozen=True)
class Histogram:
    """How the values of one tensor are distributed, in the tensor's own units.

    Attributes:
        centres: Centres of the bins, rising; on a grid the values themselves (above 8 bits a bin holds several codes).
        counts: Values in each bin.
        on_grid: Whether the tensor is quantized.
    """

    centres: np.ndarray
    counts: np.ndarray
    on_grid: bool

    @property
    def bin_width(self) -> float:
        """Distance between two centres."""
        return float(self.centres[1] - self.centres[0])


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What one look at a model found.

    Attributes:
        histograms: By operand and layer: W/conv1 (codes of the forward pass, without α), W_stored/conv1 (accumulators),
            A/conv1_relu, E_raw/conv1_relu (before Q_E) and E/conv1_relu, G_raw/conv1 and G/conv1 (the update ΔW).
        scalars: Shares W_zeros/conv1, W_saturated/conv1, W_changed/conv1 (codes that the update changes), the same
            for A and E, and the exponents of Shift, E_shift/conv1_relu and G_shift/conv1.
    """

    histograms: dict[str, Histogram]
    scalars: dict[str, float]


class Probe:
    """Measures a Functional or Sequential model on one batch.

    Args:
        model: A built and compiled model.
        images: Batch of inputs.
        targets: Their targets, as the model's loss takes them.
    """

    def __init__(self, model: keras.Model, images: np.ndarray, targets: np.ndarray):
        self.model = model
        self.images = tf.convert_to_tensor(images)
        self.targets = tf.convert_to_tensor(targets)
        self._kernels = [layer for layer in model.layers if hasattr(layer, "quantized_kernel")]
        self._activations = [layer for layer in model.layers if isinstance(layer, (QActivation, QRescaling))]
        self._errors = [layer for layer in model.layers if isinstance(layer, (QActivation, QError)) and layer.bits.e]
        self._tapped = keras.Model(
            model.inputs,
            {
                "scores": model.outputs[0],
                "activations": [layer.output for layer in self._activations],
                "before": [layer.input for layer in self._errors],
                "after": [layer.output for layer in self._errors],
            },
        )
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        self._measure = tf.function(self._run, autograph=False)

    def measure(self) -> Measurement:
        """Runs the batch forward and backward and counts."""
        counted, scalars = self._measure()
        histograms = {name: Histogram(c.numpy(), n.numpy(), bool(g)) for name, (c, n, g) in counted.items()}
        return Measurement(histograms, {name: float(value) for name, value in scalars.items()})

    def _run(self) -> tuple[dict, dict]:
        with tf.GradientTape() as tape:
            taps = self._tapped([self.images], training=True)
            loss = self.model.compute_loss(self.images, self.targets, taps["scores"])
        kernels = [layer.kernel.value for layer in self._kernels]
        gradients, incoming = tape.gradient(loss, (kernels, taps["after"]))
        found = _Findings()
        for layer, activation in zip(self._activations, taps["activations"], strict=True):
            found.add("A", layer.name, activation, layer.bits.a)
        for layer, x, upstream in zip(self._errors, taps["before"], incoming, strict=True):
            found.add("E_raw", layer.name, upstream, None)
            scale = ops.shift(ops.max_magnitude(_passed_by_mask(layer, x, upstream)))
            found.add("E", layer.name, tf.math.divide_no_nan(_error_of(layer, x, upstream), scale), layer.bits.e)
            found.scalars[f"E_shift/{layer.name}"] = _exponent(scale)
        for layer, gradient in zip(self._kernels, gradients, strict=True):
            self._add_kernel(found, layer, gradient)
        return found.counted, found.scalars

    def _add_kernel(self, found: _Findings, layer: keras.layers.Layer, gradient: tf.Tensor) -> None:
        kernel, bits = tf.convert_to_tensor(layer.kernel), layer.bits
        stored_width = max(bits.w, bits.g) if bits.w and bits.g else None
        found.add("W_stored", layer.name, kernel, stored_width)
        if bits.w:
            found.add("W", layer.name, ops.quantize(kernel, bits.w), bits.w)
        found.add("G_raw", layer.name, gradient, None)
        optimizer = self.model.optimizer
        if not (bits.g and isinstance(optimizer, IntegerSGD)):
            return
        found.scalars[f"G_shift/{layer.name}"] = _shift_exponent(gradient)
        delta = optimizer.quantized_step(gradient, layer.kernel, optimizer.learning_rate)
        found.add("G", layer.name, delta, bits.g)
        if bits.w:
            updated = layer.kernel.constraint(kernel - delta)
            changed = ops.quantize(updated, bits.w) != ops.quantize(kernel, bits.w)
            found.scalars[f"W_changed/{layer.name}"] = _share(changed)


class _Findings:
    """Collects histograms (centres, counts, on grid) and scalars while the probe's graph is traced."""

    def __init__(self) -> None:
        self.counted: dict[str, tuple] = {}
        self.scalars: dict[str, tf.Tensor] = {}

    def add(self, operand: str, layer: str, x: tf.Tensor, k: int | None) -> None:
        self.counted[f"{operand}/{layer}"] = _count_floats(x) if k is None else _count_codes(x, k)
        if k is not None and operand in ("W", "A", "E", "G"):
            self.scalars[f"{operand}_zeros/{layer}"] = _share(x == 0)
            self.scalars[f"{operand}_saturated/{layer}"] = _share(tf.abs(x) >= ops.largest_value(k))


def _count_codes(x: tf.Tensor, k: int) -> tuple[np.ndarray, tf.Tensor, bool]:
    width = ops.step_size(min(k, _WIDEST_GRID))
    last = round(ops.largest_value(min(k, _WIDEST_GRID)) / width)
    codes = tf.clip_by_value(tf.cast(tf.round(x / width), tf.int32), -last, last)
    counts = tf.math.bincount(tf.reshape(codes + last, [-1]), minlength=2 * last + 1, maxlength=2 * last + 1)
    return np.arange(-last, last + 1) * width, counts, True


def _count_floats(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, bool]:
    limit = tf.maximum(tf.reduce_max(tf.abs(x)), 1e-30)
    counts = tf.histogram_fixed_width(x, tf.stack([-limit, limit]), _FLOAT_BINS)
    half_bin = limit / _FLOAT_BINS
    return tf.linspace(-limit + half_bin, limit - half_bin, _FLOAT_BINS), counts, False


def _share(condition: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.cast(condition, tf.float32))


def _shift_exponent(x: tf.Tensor) -> tf.Tensor:
    """log2 Shift(max|x|); −127 for a tensor of zeros."""
    return _exponent(ops.shift(ops.max_magnitude(x)))


def _exponent(power: tf.Tensor) -> tf.Tensor:
    """log2 of a power of two; −127 for 0."""
    return tf.bitwise.right_shift(tf.bitcast(power, tf.int32), 23) - 127


def _error_of(layer: keras.layers.Layer, x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """The error that a layer alone passes to its input, which other layers may read too."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    return tape.gradient(y, x, upstream)


def _passed_by_mask(layer: keras.layers.Layer, x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """The error that Q_E sees: what Q_A's mask lets through."""
    if not isinstance(layer, QActivation) or layer.bits.a is None:
        return upstream
    return tf.where(tf.abs(layer.activation(x)) > ops.largest_value(layer.bits.a), 0.0, upstream)
