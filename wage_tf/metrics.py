"""The figure the papers report."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="wage_tf")
class ErrorRate(keras.metrics.MeanMetricWrapper):
    """Share of wrongly classified examples, in percent. Targets are one-hot, outputs scores [batch, classes].

    Args:
        name: Name of the metric.
        dtype: Type of its sums.
    """

    def __init__(self, name: str = "error", dtype: str | None = None):
        super().__init__(_wrong_percent, name=name, dtype=dtype)

    def get_config(self) -> dict:
        return {"name": self.name, "dtype": self.dtype}


def _wrong_percent(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    wrong = keras.ops.argmax(y_true, axis=-1) != keras.ops.argmax(y_pred, axis=-1)
    return 100.0 * keras.ops.cast(wrong, "float32")
