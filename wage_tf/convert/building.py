"""Builds the WAGE network of wage_tf's layers from steps."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Collection, Mapping
from typing import Any

import keras
import numpy as np

from wage_tf import layers
from wage_tf.bits import BitWidths
from wage_tf.convert import floating
from wage_tf.convert.folding import in_order
from wage_tf.convert.scaling import FLOAT, PixelScale, StoredWeights, Weights
from wage_tf.convert.steps import Activation, Passing, Pixels, Product, Step, cannot
from wage_tf.layers import FloatBias, QActivation, QError, QRescaling

_DTYPE: dict[str, Any] = {"dtype": "float32"}
_BATCH = 16
_VALUES_PER_BATCH = 2**13


def build(output: Step, widths: Mapping[Step, BitWidths], weights: Weights | None, name: str) -> keras.Model:
    """The network as a Keras model.

    Args:
        output: Its scores.
        widths: Pattern of every step.
        weights: Starting weights; None draws WAGE's.
        name: Of the model.

    Raises:
        UserError: If a layer has no quantized one.
    """
    names = _names(output)
    image, tensors = _tensors(output, names, widths, weights)
    error = QError(widths[output], name=_unique("scores_error", names.values()), **_DTYPE)
    model = keras.Model(image, error(tensors[output]), name=name)
    _set_weights(model, names, weights or {})
    return model


def activations(output: Step, weights: Weights, images: np.ndarray) -> dict[Step, np.ndarray]:
    """Values of every activation of the network in float32, some thousands for every batch of images.

    Args:
        output: The network.
        weights: Float weights.
        images: Pixels.
    """
    found = [step for step in in_order(output) if isinstance(step, Activation)]
    names = _names(output)
    image, tensors = _tensors(output, names, dict.fromkeys(in_order(output), FLOAT), weights)
    model = keras.Model(image, [tensors[output], *(tensors[step] for step in found)])
    _set_weights(model, names, weights)
    generator = np.random.default_rng(0)
    samples = collections.defaultdict(list)
    for start in range(0, len(images), _BATCH):
        _, *values = keras.tree.flatten(model(images[start : start + _BATCH], training=False))
        for step, value in zip(found, values, strict=True):
            samples[step].append(
                generator.choice(np.ravel(value.numpy()), min(np.prod(value.shape), _VALUES_PER_BATCH), replace=False)
            )
    return {step: np.concatenate(parts) for step, parts in samples.items()}


def _names(output: Step) -> dict[Step, str]:
    """Of every step's layer: one with weights keeps the model's own, the others take what these leave free."""
    names: dict[Step, str] = {}
    for step in sorted(in_order(output), key=lambda step: not step.has_weights):
        if step.has_weights and step.name in names.values():
            raise cannot(
                step.name, "is used twice, or batch normalization goes around it", "give each use its own layer"
            )
        names[step] = _unique(step.name, names.values())
    return names


def _set_weights(model: keras.Model, names: Mapping[Step, str], weights: Weights) -> None:
    for step, each in weights.items():
        if not isinstance(each, PixelScale):
            model.get_layer(names[step]).set_weights(each.arrays)


def _tensors(
    output: Step, names: Mapping[Step, str], widths: Mapping[Step, BitWidths], weights: Weights | None
) -> tuple[keras.KerasTensor, dict[Step, keras.KerasTensor]]:
    """The Keras tensor of the image and of every step's output."""
    tensors: dict[Step, keras.KerasTensor] = {}
    image = None
    for step in in_order(output):
        name = names[step]
        inputs = [tensors[each] for each in step.inputs]
        if isinstance(step, Pixels):
            image = keras.Input(step.shape[1:], dtype=step.dtype, name=_unique("image", names.values()))
            start: Any = weights[step] if weights else step
            tensors[step] = QRescaling(start.scale, start.offset, widths[step], name=name, **_DTYPE)(image)
        elif isinstance(step, Product):
            stored = weights[step] if weights else None
            tensors[step] = _kernel_layer(step, widths[step], stored)(*inputs)  # type: ignore[arg-type]
        elif isinstance(step, floating.FloatBatchNormalization):
            tensors[step] = _normalization_layer(step)(*inputs)
        elif isinstance(step, floating.FloatBias):
            tensors[step] = FloatBias(name=name, trainable=step.is_trainable, **_DTYPE)(*inputs)
        elif isinstance(step, Activation):
            tensors[step] = QActivation(widths[step], _function(step, widths[step]), name=name, **_DTYPE)(*inputs)
        elif isinstance(step, Passing):
            layer = step.layer_class.from_config({**step.config, "name": name, **_DTYPE})
            tensors[step] = layer(inputs if len(inputs) > 1 else inputs[0])
    return image, tensors


def _function(step: Activation, bits: BitWidths) -> str | None:
    """The activation function; the grid of quantized activations ends at a power of two of its own in place of 6."""
    return "relu" if step.function == "relu6" and bits.a is not None else step.function


def _kernel_layer(step: Product, bits: BitWidths, stored: StoredWeights | None) -> keras.Layer:
    """The quantized layer of a product: Q before the name that Keras' layer and the step share."""
    kind = type(step).__name__
    quantized = getattr(layers, f"Q{kind}", None)
    if quantized is None:
        raise cannot(step.name, f"{kind} has no quantized layer", "use Conv2D")
    settings = {"use_bias": False} if stored is None else {"use_bias": stored.bias is not None, "alpha": stored.alpha}
    return quantized(bits=bits, name=step.name, **settings, **step.settings, **_DTYPE)


def _normalization_layer(step: floating.FloatBatchNormalization) -> keras.Layer:
    """Fresh, γ is ½: of activations of variance 1 a third would lie beyond the grid, where no gradient passes."""
    start = {"gamma_initializer": keras.initializers.Constant(0.5)}
    return keras.layers.BatchNormalization.from_config(
        {**step.normalization.config, **start, "name": step.name, **_DTYPE}
    )


def _unique(name: str, taken: Collection[str]) -> str:
    if name not in taken:
        return name
    return next(each for number in itertools.count(1) if (each := f"{name}_{number}") not in taken)
