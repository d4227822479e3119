"""Measures the quantized tensors of a model on a fixed batch, outside the training step.

One forward and one backward pass count how often each integer code of W, A, E and G occurs. Nothing is trained and no
state changes; the update is computed as the optimizer would make it at its next step.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from wage_tf import ops
from wage_tf.layers import QActivation, QError, QRescaling
from wage_tf.layers.base import QuantizedKernel
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
    """Measures a model of any kind, subclassed and nested ones too, on one batch.

    A layer goes by its name, or by its path where two have the same name; its second call in a model that calls it
    several times by `name_2`.

    Args:
        model: A compiled model.
        images: Batch of inputs.
        targets: Their targets, as the model's loss takes them.

    Raises:
        ValueError: If the model is not compiled, or calls layers inside of a function that TensorFlow compiles apart.
    """

    def __init__(self, model: keras.Model, images: np.ndarray, targets: np.ndarray):
        if getattr(model, "optimizer", None) is None:
            raise ValueError(f"model: has to be compiled to be measured; received {model.name!r} without an optimizer")
        self.model = model
        self.images = tf.convert_to_tensor(images)
        self.targets = tf.convert_to_tensor(targets)
        if not model.built:
            model(self.images[:1])
        layers = model._flatten_layers(include_self=False)
        names = collections.Counter(layer.name for layer in layers)
        self._names = [(layer.name if names[layer.name] == 1 else layer.path, layer) for layer in layers]
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        self._measure = tf.function(self._run, autograph=False)
        self._compiled = _compiled(model)

    def is_of(self, model: keras.Model) -> bool:
        """Whether it measures this model as it is compiled now."""
        return self._compiled == _compiled(model)

    def measure(self) -> Measurement:
        """Runs the batch forward and backward and counts."""
        counted, scalars = self._measure()
        histograms = {name: Histogram(c.numpy(), n.numpy(), bool(g)) for name, (c, n, g) in counted.items()}
        return Measurement(histograms, {name: float(value) for name, value in scalars.items()})

    def _run(self) -> tuple[dict, dict]:
        with tf.GradientTape() as tape, keras.StatelessScope(collect_losses=True), _recorded(self._names) as calls:
            scores = self.model(self.images, training=True)
            loss = self.model.compute_loss(self.images, self.targets, scores)
        for call in calls:
            if call.outputs.graph is not loss.graph:
                raise ValueError(f"model: {call.name} is called inside of a tf.function, where it cannot be measured")
        kernels = [(name, layer) for name, layer in self._names if isinstance(layer, QuantizedKernel)]
        errors = [call for call in calls if not isinstance(call.layer, QRescaling) and call.layer.bits.e]
        gradients, incoming = tape.gradient(
            loss, ([layer.kernel.value for _, layer in kernels], [call.outputs for call in errors])
        )
        found = _Findings()
        for call in calls:
            if not isinstance(call.layer, QError):
                found.add("A", call.name, call.outputs, call.layer.bits.a)
        for call, upstream in zip(errors, incoming, strict=True):
            found.add("E_raw", call.name, upstream, None)
            scale = ops.shift(ops.max_magnitude(_passed_by_mask(call, upstream)))
            found.add("E", call.name, tf.math.divide_no_nan(_error_of(call, upstream), scale), call.layer.bits.e)
            found.scalars[f"E_shift/{call.name}"] = _exponent(scale)
        for (name, layer), gradient in zip(kernels, gradients, strict=True):
            found.add_weights(name, layer)
            if layer.kernel.trainable:
                self._add_update(found, name, layer, gradient)
        return found.counted, found.scalars

    def _add_update(self, found: _Findings, name: str, layer: keras.layers.Layer, gradient: tf.Tensor) -> None:
        kernel, bits = tf.convert_to_tensor(layer.kernel), layer.bits
        found.add("G_raw", name, gradient, None)
        optimizer = self.model.optimizer
        if not (bits.g and isinstance(optimizer, IntegerSGD)):
            return
        found.scalars[f"G_shift/{name}"] = _exponent(ops.shift(ops.max_magnitude(gradient)))
        delta = optimizer.quantized_step(gradient, layer.kernel, optimizer.learning_rate)
        found.add("G", name, delta, bits.g)
        if bits.w:
            updated = layer.kernel.constraint(kernel - delta)
            changed = ops.quantize(updated, bits.w) != ops.quantize(kernel, bits.w)
            found.scalars[f"W_changed/{name}"] = _share(changed)


@dataclasses.dataclass(frozen=True)
class _Call:
    """One call of a layer, by the name it goes by: what went in and what came out."""

    name: str
    layer: keras.layers.Layer
    inputs: tf.Tensor
    outputs: tf.Tensor


@contextlib.contextmanager
def _recorded(names: list[tuple[str, keras.layers.Layer]]) -> Iterator[list[_Call]]:
    """Records every call of a QActivation, QRescaling or QError, in the order in which they end."""
    calls: list[_Call] = []

    def recorder(name: str, layer: keras.layers.Layer) -> Callable:
        call, numbers = layer.call, itertools.count(1)

        @functools.wraps(call)
        def recording(inputs: tf.Tensor) -> tf.Tensor:
            outputs, number = call(inputs), next(numbers)
            calls.append(_Call(name if number == 1 else f"{name}_{number}", layer, inputs, outputs))
            return outputs

        return recording

    watched = [(name, layer) for name, layer in names if isinstance(layer, (QActivation, QRescaling, QError))]
    for name, layer in watched:
        layer.__dict__["call"] = recorder(name, layer)
    try:
        yield calls
    finally:
        for _, layer in watched:
            del layer.__dict__["call"]


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

    def add_weights(self, name: str, layer: keras.layers.Layer) -> None:
        kernel, bits = tf.convert_to_tensor(layer.kernel), layer.bits
        self.add("W_stored", name, kernel, max(bits.w, bits.g) if bits.w and bits.g else None)
        if bits.w:
            self.add("W", name, ops.quantize(kernel, bits.w), bits.w)


def _compiled(model: keras.Model) -> tuple:
    return model, model.optimizer, model.loss, [variable.path for variable in model.trainable_variables]


def _count_codes(x: tf.Tensor, k: int) -> tuple[np.ndarray, tf.Tensor, bool]:
    width = ops.step_size(min(k, _WIDEST_GRID))
    last = round(ops.largest_value(min(k, _WIDEST_GRID)) / width)
    codes = tf.clip_by_value(tf.cast(tf.round(x / width), tf.int32), -last, last)
    counts = tf.math.bincount(tf.reshape(codes + last, [-1]), minlength=2 * last + 1, maxlength=2 * last + 1)
    return np.arange(-last, last + 1) * width, counts, True


def _count_floats(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, bool]:
    """Of what is finite: TensorFlow crashes on a range that is not."""
    x = tf.boolean_mask(x, tf.math.is_finite(x))
    limit = tf.clip_by_value(tf.reduce_max(tf.abs(x)), 1e-30, 1e38)
    counts = tf.histogram_fixed_width(x, tf.stack([-limit, limit]), _FLOAT_BINS)
    half_bin = limit / _FLOAT_BINS
    return tf.linspace(-limit + half_bin, limit - half_bin, _FLOAT_BINS), counts, False


def _share(condition: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.cast(condition, tf.float32))


def _exponent(power: tf.Tensor) -> tf.Tensor:
    """log2 of a power of two; −127 for 0."""
    return tf.bitwise.right_shift(tf.bitcast(power, tf.int32), 23) - 127


def _error_of(call: _Call, upstream: tf.Tensor) -> tf.Tensor:
    """The error that a layer alone passes to its input, which other layers may read too."""
    with tf.GradientTape() as tape:
        tape.watch(call.inputs)
        outputs = call.layer(call.inputs)
    return tape.gradient(outputs, call.inputs, upstream)


def _passed_by_mask(call: _Call, upstream: tf.Tensor) -> tf.Tensor:
    """The error that Q_E sees: what Q_A's mask lets through."""
    if not isinstance(call.layer, QActivation) or call.layer.bits.a is None:
        return upstream
    activation = call.layer.activation(call.inputs)
    return tf.where(tf.abs(activation) > ops.largest_value(call.layer.bits.a), 0.0, upstream)
