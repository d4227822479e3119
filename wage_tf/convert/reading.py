"""Reads a Keras model into steps, layer by layer, nested models in place."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from wage_tf.convert import steps
from wage_tf.convert.floating import BatchNormalization
from wage_tf.convert.steps import Activation, Affine, End, Map, Pixels, Step, cannot
from wage_tf.convert.tracing import functional, trace
from wage_tf.errors import UserError
from wage_tf.layers import QGlobalMaxPooling2D

Reader = Callable[[keras.Layer, str, tuple[Step, ...]], Step]


def read(model: keras.Model) -> tuple[Step, str | None]:
    """Reads a built model of one input and one output.

    Args:
        model: Functional or Sequential, nested models included. It stays as it is.

    Returns:
        The step of its scores, and the name of the activation after them, "softmax" or "sigmoid", or None.

    Raises:
        UserError: If a layer has no place in a WAGE network; the message names it, the reason and what to do.
    """
    if not isinstance(model, keras.Model):
        raise UserError(f"model: a keras.Model is wanted; received {type(model).__name__}")
    graph = functional(model, model.name)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise UserError(
            f"model {model.name}: has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; "
            "convert a model of one input and one output"
        )
    (image,) = graph.inputs
    pixels = Pixels(name="rescale", shape=tuple(image.shape), dtype=keras.backend.standardize_dtype(image.dtype))
    (output,) = trace(graph, [pixels], "", _steps_of)
    return (output.inputs[0], output.activation) if isinstance(output, End) else (output, None)


def _steps_of(layer: keras.Layer, name: str, inputs: tuple[Step, ...]) -> list[Step]:
    """The steps of the outputs of a layer or nested model."""
    if any(isinstance(each, End) for each in inputs):
        raise cannot(name, "softmax or sigmoid stands before it", "keep these for the end of the model")
    if isinstance(layer, keras.Model):
        return trace(functional(layer, name), inputs, f"{name}_", _steps_of)
    return [_reader(layer, name)(layer, name, inputs)]


def _reader(layer: keras.Layer, name: str) -> Reader:
    """The reader of a layer of Keras' own; a subclass may compute something else."""
    kind, library = type(layer).__name__, type(layer).__module__.partition(".")[0]
    if library == "wage_tf":
        raise cannot(name, f"is a {kind} already", "convert the float model that it came from")
    if library != "keras" or kind not in _READERS:
        known = ", ".join(each for each in _READERS if hasattr(keras.layers, each))
        raise cannot(name, f"{kind} has no place in a WAGE network", f"build the model of {known}")
    if getattr(layer, "data_format", None) == "channels_first":
        raise cannot(name, "has data_format='channels_first'", "use 'channels_last'")
    if getattr(layer, "quantization_mode", None) is not None:
        raise cannot(name, f"is quantized already ({layer.quantization_mode})", "convert the model before Keras does")
    return _READERS[kind]


def _config(layer: keras.Layer) -> dict[str, object]:
    """What another layer of the same kind needs, which has its own name and computes in float32."""
    return {key: value for key, value in layer.get_config().items() if key not in ("name", "dtype")}


def _same(layer: keras.Layer, name: str, inputs: tuple[Step, ...]) -> Step:
    return inputs[0]


def _augmentation(layer: keras.Layer, name: str, inputs: tuple[Step, ...]) -> Step:
    warnings.warn(
        f"layer {name}: {type(layer).__name__} is left out; augment the images in the tf.data pipeline", stacklevel=2
    )
    return inputs[0]


def _affine(name: str, inputs: tuple[Step, ...], scale: object, shift: object) -> Affine:
    """y = scale·x + shift, each a number or one for every channel."""
    (step,) = inputs
    try:
        scale, shift = (np.broadcast_to(np.ravel(np.asarray(x, np.float64)), (step.channels,)) for x in (scale, shift))
    except ValueError:
        reason = "scales something else than the channels, the last axis"
        raise cannot(name, reason, "give one number, or one for every channel") from None
    return Affine(name=name, inputs=inputs, shape=step.shape, map=Map(scale, shift))


def _rescaling(layer: keras.layers.Rescaling, name: str, inputs: tuple[Step, ...]) -> Step:
    return _affine(name, inputs, layer.scale, layer.offset)


def _normalization(layer: keras.layers.Normalization, name: str, inputs: tuple[Step, ...]) -> Step:
    if layer.invert:
        raise cannot(name, "has invert=True", "normalize at the input only")
    deviation = np.maximum(np.sqrt(np.asarray(layer.variance, np.float64)), keras.config.epsilon())
    return _affine(name, inputs, 1 / deviation, -np.asarray(layer.mean, np.float64) / deviation)


def _batch_normalization(layer: keras.layers.BatchNormalization, name: str, inputs: tuple[Step, ...]) -> Step:
    axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
    if axis % len(inputs[0].shape) != len(inputs[0].shape) - 1:
        raise cannot(name, f"normalizes axis {axis}", "normalize the last axis, the channels")
    names = [*["gamma"] * layer.scale, *["beta"] * layer.center, "moving_mean", "moving_variance"]
    weights = {each: np.asarray(getattr(layer, each), np.float64) for each in names}
    scale = weights.get("gamma", 1.0) / np.sqrt(weights["moving_variance"] + layer.epsilon)
    shift = weights.get("beta", 0.0) - weights["moving_mean"] * scale
    step = _affine(name, inputs, scale, shift)
    return BatchNormalization(
        name=name, inputs=inputs, shape=step.shape, map=step.map, config=_config(layer), weights=weights
    )


def _dense(layer: keras.layers.Dense, name: str, inputs: tuple[Step, ...]) -> Step:
    return _product(steps.Dense, layer, name, inputs, layer.kernel, ("units",))


def _conv2d(layer: keras.layers.Conv2D, name: str, inputs: tuple[Step, ...]) -> Step:
    settings = ("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups")
    return _product(steps.Conv2D, layer, name, inputs, layer.kernel, settings)


def _depthwise(layer: keras.layers.DepthwiseConv2D, name: str, inputs: tuple[Step, ...]) -> Step:
    settings = ("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier")
    return _product(steps.DepthwiseConv2D, layer, name, inputs, layer.kernel, settings)


def _separable(layer: keras.layers.SeparableConv2D, name: str, inputs: tuple[Step, ...]) -> Step:
    """A depthwise convolution, then a 1×1 convolution."""
    window = ("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier")
    channels = inputs[0].channels * layer.depth_multiplier
    depthwise = steps.DepthwiseConv2D(
        name=f"{name}_depthwise",
        source=name,
        inputs=inputs,
        shape=(*layer.compute_output_shape(inputs[0].shape)[:-1], channels),
        settings={**{each: getattr(layer, each) for each in window}, "trainable": layer.trainable},
        kernel=np.asarray(layer.depthwise_kernel, np.float64),
        bias=None,
    )
    pointwise = _product(steps.Conv2D, layer, name, inputs, layer.pointwise_kernel, ("filters",), own_activation=False)
    settings = {**pointwise.settings, "kernel_size": (1, 1), "groups": 1}
    pointwise = dataclasses.replace(pointwise, name=f"{name}_pointwise", inputs=(depthwise,), settings=settings)
    return _activate(layer.activation, name, pointwise)


def _product(
    kind: type[steps.Product],
    layer: keras.Layer,
    name: str,
    inputs: tuple[Step, ...],
    kernel: keras.Variable,
    settings: tuple[str, ...],
    own_activation: bool = True,
) -> Any:
    (before,) = inputs
    product = kind(
        name=name,
        source=name,
        inputs=inputs,
        shape=tuple(layer.compute_output_shape(before.shape)),
        settings={**{each: getattr(layer, each) for each in settings}, "trainable": layer.trainable},
        kernel=np.asarray(kernel, np.float64),
        bias=np.asarray(layer.bias, np.float64) if layer.use_bias else None,
    )
    return _activate(layer.activation, name, product) if own_activation else product


def _activate(activation: Callable, name: str, step: Step) -> Step:
    """The step, followed by an activation that a layer was given by name or as a function."""
    kind = getattr(activation, "__name__", type(activation).__name__)
    if activation is None or kind == "linear":
        return step
    if isinstance(activation, keras.Layer):
        return _reader(activation, name)(activation, f"{name}_{activation.name}", (step,))
    if getattr(keras.activations, kind, None) is not activation or kind not in ("relu", "relu6", *_ENDS):
        raise cannot(name, f"activation {kind!r} has no integer form", "use 'relu', and 'softmax' at the end")
    return _activated(kind, f"{name}_{kind}", step)


def _activated(kind: str, name: str, step: Step) -> Step:
    common: dict[str, Any] = {"name": name, "inputs": (step,), "shape": step.shape}
    return End(**common, activation=kind) if kind in _ENDS else Activation(**common, function=kind)


_ENDS = ("softmax", "sigmoid")


def _named_activation(kind: str) -> Reader:
    return lambda layer, name, inputs: _activated(kind, name, *inputs)


def _activation_layer(layer: keras.layers.Activation, name: str, inputs: tuple[Step, ...]) -> Step:
    return _activate(layer.activation, name, *inputs)


def _relu_layer(layer: keras.layers.ReLU, name: str, inputs: tuple[Step, ...]) -> Step:
    if layer.negative_slope or layer.threshold or layer.max_value not in (None, 6):
        raise cannot(name, "has a slope, a threshold or a maximum that is not 6", "use ReLU() or ReLU(6)")
    return _activated("relu" if layer.max_value is None else "relu6", name, *inputs)


def _softmax_layer(layer: keras.layers.Softmax, name: str, inputs: tuple[Step, ...]) -> Step:
    if layer.axis not in (-1, len(inputs[0].shape) - 1):
        raise cannot(name, f"runs along axis {layer.axis}", "use the last axis, the classes")
    return _activated("softmax", name, *inputs)


def _passing(kind: type[steps.Passing], layer_class: type[keras.Layer] | None = None) -> Reader:
    """A layer without weights that stays as it is, or is replaced by one of the same arguments."""

    def read_passing(layer: keras.Layer, name: str, inputs: tuple[Step, ...]) -> Step:
        if not isinstance(layer, keras.Layer):
            raise cannot(name, "is an operation", f"use keras.layers.{type(layer).__name__}")
        shape = tuple(layer.compute_output_shape(inputs[0].shape))
        return kind(
            name=name, inputs=inputs, shape=shape, layer_class=layer_class or type(layer), config=_config(layer)
        )

    return read_passing


def _add(layer: keras.layers.Add, name: str, inputs: tuple[Step, ...]) -> Step:
    if len(inputs) < 2 or any(each.shape != inputs[0].shape for each in inputs):
        raise cannot(name, "adds a constant or broadcasts", "add branches of one shape")
    return steps.Add(name=name, inputs=inputs, shape=inputs[0].shape, layer_class=keras.layers.Add, config={})


def _concatenate(layer: keras.layers.Concatenate, name: str, inputs: tuple[Step, ...]) -> Step:
    shape = inputs[0].shape
    if layer.axis % len(shape) != len(shape) - 1:
        raise cannot(name, f"concatenates along axis {layer.axis}", "use the last axis, the channels")
    shape = (*shape[:-1], sum(each.channels for each in inputs))
    return steps.Concatenate(name=name, inputs=inputs, shape=shape, layer_class=keras.layers.Concatenate, config={})


_READERS: dict[str, Reader] = {
    "Conv2D": _conv2d,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _separable,
    "Dense": _dense,
    "BatchNormalization": _batch_normalization,
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "ReLU": _relu_layer,
    "Activation": _activation_layer,
    "Softmax": _softmax_layer,
    "MaxPooling2D": _passing(steps.MaxPooling),
    "GlobalMaxPooling2D": _passing(steps.MaxPooling, QGlobalMaxPooling2D),
    "AveragePooling2D": _passing(steps.Averaging),
    "GlobalAveragePooling2D": _passing(steps.Averaging),
    "ZeroPadding2D": _passing(steps.Passing),
    "Flatten": _passing(steps.Flatten),
    "Reshape": _passing(steps.Flatten),
    "Add": _add,
    "Concatenate": _concatenate,
    **dict.fromkeys(("Dropout", "SpatialDropout2D", "GaussianDropout", "GaussianNoise", "Identity"), _same),
    **dict.fromkeys(("RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom"), _augmentation),
    **dict.fromkeys(("RandomContrast", "RandomBrightness"), _augmentation),
    "Relu": _named_activation("relu"),
    "Relu6": _named_activation("relu6"),
}
