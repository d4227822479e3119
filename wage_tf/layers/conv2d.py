"""Convolution with a quantized kernel."""

from __future__ import annotations

import keras
import tensorflow as tf

from wage_tf.layers.base import QuantizedKernel


@keras.saving.register_keras_serializable(package="wage_tf")
class QConv2D(QuantizedKernel, keras.layers.Conv2D):
    """`keras.layers.Conv2D` whose kernel is quantized: y = x ∗ Q(W, k_W)/α (paper, eq. 10).

    Args:
        filters: Number of output channels.
        kernel_size: Height and width of the window.
        bits: BitWidths or pattern; W applies here, G is the optimizer's.
        beta: See `initializers.grid_limit`.
        factor: See `initializers.fan_in_limit`: 1 in the authors' code, 2 in the paper.
        alpha: The layer's constant; None computes it (`initializers.layer_alpha`), 1.0 is the paper's as printed.
        **kwargs: Arguments of `keras.layers.Conv2D`; `use_bias` is False unless given.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolves with the quantized kernel in place of the stored one; Keras calls it from `call`."""
        return super().convolution_op(inputs, self.quantized_kernel)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maps float32 images to float32 sums."""
        return self.finish(self.convolution_op(inputs, self.kernel))
