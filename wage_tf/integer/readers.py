"""Reads the integers out of Keras layers: for every kind of layer the nodes that stand for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import keras
import numpy as np

from wage_tf.errors import UserError
from wage_tf.integer.arithmetic import code_dtype, fraction_bits, largest_code
from wage_tf.integer.nodes import (
    Activation,
    Add,
    AveragePool2D,
    Concatenate,
    Conv2D,
    Dense,
    Error,
    Flatten,
    Identity,
    Kernel,
    MaxPool2D,
    Node,
    Relu,
    Rescale,
    Reshape,
    ZeroPad2D,
)
from wage_tf.integer.tensors import Shape
from wage_tf.integer.weights import bias_of, codes_of, integer_width, kernel_of
from wage_tf.layers import (
    QActivation,
    QConv2D,
    QDense,
    QDepthwiseConv2D,
    QError,
    QGlobalMaxPooling2D,
    QRescaling,
)


class Place(NamedTuple):
    """A layer where it stands in a model.

    Attributes:
        layer: The layer.
        name: Its name, with those of the nested models around it.
        inputs: Names of the nodes that it takes.
        shape: Shape of its first input, without the batch.
        variables: Places of the model's trainable variables, by their id.
    """

    layer: keras.Layer
    name: str
    inputs: tuple[str, ...]
    shape: Shape
    variables: dict[int, int]

    @property
    def owner(self) -> tuple[keras.Layer, str, dict[int, int]]:
        """What `kernel_of` and `bias_of` take."""
        return self.layer, self.name, self.variables


def _rescaling(place: Place) -> list[Node]:
    layer, name = place.layer, place.name
    width = integer_width(name, layer.bits.a, "activations", "A")
    table = layer(np.arange(256, dtype=np.uint8).reshape(256, 1)).numpy()[:, 0]
    codes = codes_of(table, fraction_bits(width), f"layer {name}")
    return [Rescale(name, place.inputs, codes.astype(code_dtype(largest_code(width))), width)]


def _convolution(place: Place) -> list[Node]:
    return _convolved(place, kernel_of(*place.owner), int(place.layer.groups))


def _depthwise(place: Place) -> list[Node]:
    """A convolution in as many groups as channels; its kernel [h, w, channels, multiplier] in the same order."""
    height, width, channels, multiplier = place.layer.kernel.shape
    return _convolved(place, kernel_of(*place.owner, (height, width, 1, channels * multiplier)), channels)


def _convolved(place: Place, kernel: Kernel, groups: int) -> list[Node]:
    layer = place.layer
    _require_channels_last(place)
    window = _pair(layer.strides), layer.padding, _pair(layer.dilation_rate)
    return [Conv2D(place.name, place.inputs, kernel, bias_of(*place.owner), *window, groups), *_activation_of(place)]


def _dense(place: Place) -> list[Node]:
    return [Dense(place.name, place.inputs, kernel_of(*place.owner), bias_of(*place.owner)), *_activation_of(place)]


def _pool(kind: type[MaxPool2D | AveragePool2D], place: Place) -> list[Node]:
    _require_channels_last(place)
    layer = place.layer
    return [kind(place.name, place.inputs, _pair(layer.pool_size), _pair(layer.strides), layer.padding)]


def _global_pool(kind: type[MaxPool2D | AveragePool2D], place: Place) -> list[Node]:
    _require_channels_last(place)
    if len(place.shape) != 3 or None in place.shape:
        raise UserError(f"layer {place.name}: a global pooling needs images of a fixed size; received {place.shape}")
    window = _pair(place.shape[:2])
    pool = kind(place.name, place.inputs, window, window, "valid")
    return [pool] if place.layer.keepdims else [pool, Flatten(f"{place.name}/flatten", (place.name,))]


def _keras_global_max_pool(place: Place) -> list[Node]:
    """Keras' own divides the error among equal maxima, which is no shift: inference only."""
    nodes = _global_pool(MaxPool2D, place)
    return [*nodes, Identity(f"{place.name}/inference", (nodes[-1].name,), type(place.layer).__name__)]


def _alone(kind: type[Flatten | Add], place: Place) -> list[Node]:
    """A node that needs to know nothing of the layer."""
    return [kind(place.name, place.inputs)]


def _reshape(place: Place) -> list[Node]:
    shape = place.layer.compute_output_shape((None, *place.shape))[1:]
    return [Reshape(place.name, place.inputs, tuple(int(size) for size in shape))]


def _zero_padding(place: Place) -> list[Node]:
    _require_channels_last(place)
    rows, columns = place.layer.padding
    return [ZeroPad2D(place.name, place.inputs, _pair(rows), _pair(columns))]


def _concatenate(place: Place) -> list[Node]:
    axis = place.layer.axis
    return [Concatenate(place.name, place.inputs, axis + len(place.shape) if axis < 0 else axis - 1)]


def _q_activation(place: Place) -> list[Node]:
    layer = place.layer
    _refuse_gamma(place)
    relu = _is_relu(place)
    width = integer_width(place.name, layer.bits.a, "activations", "A")
    return [Activation(place.name, place.inputs, relu, width, layer.bits.e)]


def _activation(place: Place) -> list[Node]:
    return [Relu(place.name, place.inputs) if _is_relu(place) else Error(place.name, place.inputs, None)]


def _relu(place: Place) -> list[Node]:
    layer = place.layer
    if layer.max_value is not None or layer.negative_slope or layer.threshold:
        raise UserError(f"layer {place.name}: a ReLU with a limit, slope or threshold has no integer node")
    return [Relu(place.name, place.inputs)]


def _refuse_gamma(place: Place) -> None:
    if place.layer.gamma != 1:
        raise UserError(f"layer {place.name}: the integer graph takes gamma = 1; received {place.layer.gamma:g}")


def _error(place: Place) -> list[Node]:
    _refuse_gamma(place)
    return [Error(place.name, place.inputs, place.layer.bits.e)]


def _identity(place: Place) -> list[Node]:
    return [Error(place.name, place.inputs, None)]


def _training_only(place: Place) -> list[Node]:
    return [Identity(place.name, place.inputs, type(place.layer).__name__)]


def _activation_of(place: Place) -> list[Node]:
    """The activation within a layer with a kernel."""
    return [Relu(f"{place.name}/relu", (place.name,))] if _is_relu(place) else []


def _is_relu(place: Place) -> bool:
    activation = place.layer.activation
    if activation not in (keras.activations.relu, keras.activations.linear):
        name = getattr(activation, "__name__", activation)
        raise UserError(f"layer {place.name}: activation {name!r} has no integer node; relu and None have")
    return activation is keras.activations.relu


def _require_channels_last(place: Place) -> None:
    if place.layer.data_format != "channels_last":
        raise UserError(f"layer {place.name}: the integer graph takes data_format='channels_last'")


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    return int(sizes[0]), int(sizes[1])


_TRAINING_ONLY = (
    *(keras.layers.Dropout, keras.layers.SpatialDropout2D, keras.layers.GaussianNoise),
    *(keras.layers.RandomFlip, keras.layers.RandomRotation, keras.layers.RandomTranslation, keras.layers.RandomZoom),
    *(keras.layers.RandomContrast, keras.layers.RandomBrightness),
)
READERS: dict[type, Callable[[Place], list[Node]]] = {
    QRescaling: _rescaling,
    QConv2D: _convolution,
    QDepthwiseConv2D: _depthwise,
    QDense: _dense,
    QActivation: _q_activation,
    QError: _error,
    QGlobalMaxPooling2D: partial(_global_pool, MaxPool2D),
    keras.layers.MaxPooling2D: partial(_pool, MaxPool2D),
    keras.layers.AveragePooling2D: partial(_pool, AveragePool2D),
    keras.layers.GlobalAveragePooling2D: partial(_global_pool, AveragePool2D),
    keras.layers.GlobalMaxPooling2D: _keras_global_max_pool,
    keras.layers.Flatten: partial(_alone, Flatten),
    keras.layers.Reshape: _reshape,
    keras.layers.ZeroPadding2D: _zero_padding,
    keras.layers.Add: partial(_alone, Add),
    keras.layers.Concatenate: _concatenate,
    keras.layers.ReLU: _relu,
    keras.layers.Activation: _activation,
    keras.layers.Identity: _identity,
    **dict.fromkeys(_TRAINING_ONLY, _training_only),
}
"""The reader of every kind of layer; the last are the identity outside training, and have no integer training."""
