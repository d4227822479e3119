"""The paper's loss on small images; softmax cross-entropy is `keras.losses.CategoricalCrossentropy`."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="wage_tf")
class SumSquaredError(keras.losses.Loss):
    """½·Σ(y − t)², summed over outputs and batch, not averaged (paper, section 4.1).

    The error it sends back is y − t.

    Args:
        reduction: "sum" as in the paper, or another of Keras' reductions over the batch.
        name: Name of the loss.

    Raises:
        ValueError: When called with targets whose shape is not the outputs'.
    """

    def __init__(self, reduction: str = "sum", name: str = "sum_squared_error", **kwargs: object):
        super().__init__(name=name, reduction=reduction, **kwargs)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Maps one-hot float targets and outputs [batch, classes] to losses [batch]."""
        y_true = keras.ops.convert_to_tensor(y_true)
        y_pred = keras.ops.convert_to_tensor(y_pred)
        check_one_hot("SumSquaredError", y_true, y_pred)
        difference = keras.ops.cast(y_pred, "float32") - keras.ops.cast(y_true, "float32")
        return 0.5 * keras.ops.sum(keras.ops.square(difference), axis=-1)

    def get_config(self) -> dict:
        return {"reduction": self.reduction, "name": self.name}


def check_one_hot(name: str, y_true: tf.Tensor, y_pred: tf.Tensor) -> None:
    """Checks that targets have the outputs' shape, so that integer labels are not broadcast over the outputs.

    Args:
        name: Who asks, for the message.
        y_true: Targets.
        y_pred: Outputs.

    Raises:
        ValueError: If they have another shape.
    """
    if not y_true.shape.is_compatible_with(y_pred.shape):
        raise ValueError(
            f"{name}: targets are one-hot, of the outputs' shape {tuple(y_pred.shape)}; "
            f"received {tuple(y_true.shape)} (keras.utils.to_categorical makes them from integer labels)"
        )


NAMED: dict[str, Callable[[], keras.losses.Loss]] = {
    "sum_squared_error": SumSquaredError,
    "softmax_cross_entropy": lambda: keras.losses.CategoricalCrossentropy(from_logits=True, reduction="sum"),
}
"""The losses that a configuration names, summed over the batch as WAGE's gradients are."""
