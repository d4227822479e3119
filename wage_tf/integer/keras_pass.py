"""Keras' side of a comparison: outputs and errors of every layer, gradients of every parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from wage_tf.integer.freezing import Call
from wage_tf.integer.graph import IMAGES
from wage_tf.integer.nodes import Identity
from wage_tf.integer.tensors import Tensor
from wage_tf.losses import SumSquaredError


class Pass(NamedTuple):
    """Keras' outputs of layers and their errors by node, and gradients by parameter."""

    outputs: dict[str, tf.Tensor]
    errors: dict[str, tf.Tensor]
    gradients: dict[str, tf.Tensor]


def layer_outputs(calls: Sequence[Call], images: np.ndarray) -> dict[str, tf.Tensor]:
    """Keras' outputs of every layer, by the name of its node."""
    values = {IMAGES: tf.convert_to_tensor(images)}
    for call in calls:
        inputs = [values[name] for name in call.inputs]
        mode = {"training": False} if isinstance(call.nodes[-1], Identity) else {}
        values[call.output] = call.layer(inputs[0] if len(inputs) == 1 else inputs, **mode)
    del values[IMAGES]
    return values


def pass_of(
    calls: Sequence[Call], images: np.ndarray, targets: np.ndarray, variables: Mapping[str, tf.Variable]
) -> Pass:
    """Keras' forward and backward pass on the sum of squared errors, with the gradients of the variables."""
    with tf.GradientTape() as tape:
        outputs = layer_outputs(calls, images)
        loss = SumSquaredError()(targets, outputs[calls[-1].output])
    errors, gradients = tape.gradient(loss, [outputs, dict(variables)])
    return Pass(outputs, errors, gradients)


def copy_of(model: keras.Model) -> keras.Model:
    """The model again, with weights of its own."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def equals(values: tf.Tensor, codes: Tensor) -> bool:
    """Whether Keras' values are the integers; a depthwise kernel has another shape there, the order is the same."""
    scaled = np.asarray(values, np.float64) * 2.0**codes.fraction
    return bool((scaled.reshape(codes.codes.shape) == codes.codes).all())
