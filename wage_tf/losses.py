"""The paper's loss on small images; softmax cross-entropy is `keras.losses.CategoricalCrossentropy`."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="wage_tf")
class SumSquaredError(keras.losses.Loss):
    """½·Σ(y − t)², summed over outputs and batch, not averaged (paper, section 4.1).

    The error it sends back is y − t. Targets t are one-hot, of the outputs' shape, or integer labels, which have one
    number where the outputs have one for each class: both give the same loss. A label that is no class gives NaN. A
    single output has no classes: targets [batch] are then its values.

    Args:
        reduction: "sum" as in the paper, or another of Keras' reductions over the batch.
        name: Name of the loss.

    Raises:
        ValueError: When called with targets of another shape.
    """

    def __init__(self, reduction: str = "sum", name: str = "sum_squared_error", **kwargs: object):
        super().__init__(name=name, reduction=reduction, **kwargs)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Maps targets [batch, classes], [batch] or [batch, 1] and outputs [batch, classes] to losses [batch]."""
        y_true = keras.ops.convert_to_tensor(y_true)
        y_pred = keras.ops.convert_to_tensor(y_pred)
        if are_labels("SumSquaredError", y_true, y_pred):
            is_regression = y_pred.shape[-1] == 1
            y_true = keras.ops.reshape(y_true, keras.ops.shape(y_pred)) if is_regression else _one_hot(y_true, y_pred)
        difference = keras.ops.cast(y_pred, "float32") - keras.ops.cast(y_true, "float32")
        return 0.5 * keras.ops.sum(keras.ops.square(difference), axis=-1)

    def get_config(self) -> dict:
        return {"reduction": self.reduction, "name": self.name}


def are_labels(name: str, y_true: tf.Tensor, y_pred: tf.Tensor) -> bool:
    """Whether targets are integer labels, [batch] or [batch, 1], and not one-hot, [batch, classes]; by shape alone.

    Args:
        name: Who asks, for the message.
        y_true: Targets.
        y_pred: Outputs.

    Raises:
        ValueError: If they are neither, so that nothing is broadcast over the outputs.
    """
    if y_true.shape.is_compatible_with(y_pred.shape):
        return False
    if any(y_true.shape.is_compatible_with(shape) for shape in (y_pred.shape[:-1], [*y_pred.shape[:-1], 1])):
        return True
    raise ValueError(
        f"{name}: targets are one-hot, of the outputs' shape {tuple(y_pred.shape)}, or integer labels of "
        f"{tuple(y_pred.shape[:-1])}; received {tuple(y_true.shape)}"
    )


def labels_of(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """Returns labels [batch] or [batch, 1] as int32 [batch]."""
    return keras.ops.cast(keras.ops.reshape(y_true, keras.ops.shape(y_pred)[:-1]), "int32")


def _one_hot(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    labels, classes = labels_of(y_true, y_pred), y_pred.shape[-1]
    is_whole = keras.ops.reshape(y_true, keras.ops.shape(labels)) == keras.ops.cast(labels, y_true.dtype)
    is_class = keras.ops.logical_and(is_whole, keras.ops.logical_and(labels >= 0, labels < classes))
    return keras.ops.where(keras.ops.expand_dims(is_class, -1), keras.ops.one_hot(labels, classes), float("nan"))


NAMED: dict[str, Callable[[], keras.losses.Loss]] = {
    "sum_squared_error": SumSquaredError,
    "softmax_cross_entropy": lambda: keras.losses.CategoricalCrossentropy(from_logits=True, reduction="sum"),
}
"""The losses that a configuration names, summed over the batch as WAGE's gradients are."""
