"""Pooling whose gradient stays on the integer grid where Keras' own leaves it."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="wage_tf")
class QGlobalMaxPooling2D(keras.layers.GlobalMaxPooling2D):
    """`keras.layers.GlobalMaxPooling2D` that gives the error to one of equal maxima, the first, row by row.

    Keras' own divides it by their number, which is no shift.

    Args:
        **kwargs: Arguments of `keras.layers.GlobalMaxPooling2D`.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maps [batch, height, width, channels] to [batch, channels]; with `keepdims` to [batch, 1, 1, channels]."""
        height, width = self.spatial_sizes(inputs.shape)
        pooled = keras.ops.max_pool(inputs, (height, width), data_format=self.data_format)
        return pooled if self.keepdims else keras.ops.squeeze(pooled, axis=self.spatial_axes)

    @property
    def spatial_axes(self) -> tuple[int, int]:
        """Axes of height and width."""
        return (1, 2) if self.data_format == "channels_last" else (2, 3)

    def spatial_sizes(self, shape: tuple[int | None, ...]) -> tuple[int, int]:
        """Height and width of the images.

        Raises:
            ValueError: If they are not known.
        """
        height, width = (shape[axis] for axis in self.spatial_axes)
        if height is None or width is None:
            raise ValueError(f"{self.name}: needs images of a fixed size; received the shape {tuple(shape)}")
        return height, width
