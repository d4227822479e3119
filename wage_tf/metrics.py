"""The figure the papers report."""

from __future__ import annotations

import keras
import tensorflow as tf

from wage_tf.losses import check_one_hot


@keras.saving.register_keras_serializable(package="wage_tf")
class ErrorRate(keras.metrics.MeanMetricWrapper):
    """Share of wrongly classified examples, in percent. Targets are one-hot, outputs scores [batch, classes].

    Args:
        name: Name of the metric.
        dtype: Type of its sums.

    Raises:
        ValueError: When called with targets whose shape is not the outputs', or with less than two outputs.
    """

    def __init__(self, name: str = "error", dtype: str | None = None):
        super().__init__(_wrong_percent, name=name, dtype=dtype)

    def get_config(self) -> dict:
        return {"name": self.name, "dtype": self.dtype}


def _wrong_percent(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    y_true, y_pred = keras.ops.convert_to_tensor(y_true), keras.ops.convert_to_tensor(y_pred)
    check_one_hot("ErrorRate", y_true, y_pred)
    if y_pred.shape[-1] == 1:
        raise ValueError(f"ErrorRate: one output a class, at least two; received outputs of {tuple(y_pred.shape)}")
    wrong = keras.ops.argmax(y_true, axis=-1) != keras.ops.argmax(y_pred, axis=-1)
    return 100.0 * keras.ops.cast(wrong, "float32")
