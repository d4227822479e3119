"""The figure the papers report, and that of networks without classes."""

from __future__ import annotations

import keras
import tensorflow as tf

from wage_tf.losses import are_labels, labels_of


@keras.saving.register_keras_serializable(package="wage_tf")
class ErrorRate(keras.metrics.MeanMetricWrapper):
    """Share of wrongly classified examples, in percent. Outputs are scores [batch, classes].

    Targets are one-hot, [batch, classes], or integer labels, [batch] or [batch, 1]: both give the same rate.

    Args:
        name: Name of the metric.
        dtype: Type of its sums.

    Raises:
        ValueError: When called with targets of another shape, or with less than two outputs.
    """

    def __init__(self, name: str = "error", dtype: str | None = None):
        super().__init__(_wrong_percent, name=name, dtype=dtype)

    def get_config(self) -> dict:
        return {"name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="wage_tf")
class ReconstructionError(keras.metrics.MeanMetricWrapper):
    """Mean of (y − t)² over examples and outputs, in percent: of 1, which no activation exceeds.

    Args:
        name: Name of the metric.
        dtype: Type of its sums.
    """

    def __init__(self, name: str = "error", dtype: str | None = None):
        super().__init__(_squared_percent, name=name, dtype=dtype)

    def get_config(self) -> dict:
        return {"name": self.name, "dtype": self.dtype}


def _squared_percent(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    return 100.0 * keras.losses.mean_squared_error(y_true, y_pred)


def _wrong_percent(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    y_true, y_pred = keras.ops.convert_to_tensor(y_true), keras.ops.convert_to_tensor(y_pred)
    sparse = are_labels("ErrorRate", y_true, y_pred)
    if y_pred.shape[-1] == 1:
        raise ValueError(f"ErrorRate: one output a class, at least two; received outputs of {tuple(y_pred.shape)}")
    labels = labels_of(y_true, y_pred) if sparse else keras.ops.argmax(y_true, axis=-1)
    wrong = labels != keras.ops.cast(keras.ops.argmax(y_pred, axis=-1), labels.dtype)
    return 100.0 * keras.ops.cast(wrong, "float32")
