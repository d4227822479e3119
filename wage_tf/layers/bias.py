"""FloatBias: a bias that stays out of the integers."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="wage_tf")
class FloatBias(keras.layers.Layer):
    """y = x + b, one float32 b for every channel, as batch normalization's β is: trained by `float_optimizer`.

    Stands after a quantized layer in place of its `use_bias=True`, which is an integer on the grid of the layer's sums.
    A network with it does not run in integers only.

    Args:
        bias_initializer: Initializer of b.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, bias_initializer: str | dict | keras.initializers.Initializer = "zeros", **kwargs: object):
        super().__init__(**kwargs)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer=self.bias_initializer)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Adds b along the last axis; float32 to float32 of the same shape."""
        return keras.ops.add(inputs, self.bias)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict:
        initializer = keras.initializers.serialize(self.bias_initializer)
        return {**super().get_config(), "bias_initializer": initializer}
