"""Depthwise convolution with a quantized kernel."""

from __future__ import annotations

import keras
import tensorflow as tf

from wage_tf.initializers import DepthwiseUniform
from wage_tf.layers.base import QuantizedKernel


@keras.saving.register_keras_serializable(package="wage_tf")
class QDepthwiseConv2D(QuantizedKernel, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` whose kernel is quantized; its fan-in is height × width of the window.

    Nine inputs a sum carry little through ternary weights: start from 8 bits.

    Args:
        kernel_size: Height and width of the window.
        bits: BitWidths or pattern; W applies here, G is the optimizer's.
        beta: See `initializers.grid_limit`.
        factor: See `initializers.fan_in_limit`: 1 in the authors' code, 2 in the paper.
        alpha: The layer's constant; None computes it (`initializers.layer_alpha`), 1.0 is the paper's as printed.
        **kwargs: Arguments of `keras.layers.DepthwiseConv2D`; `use_bias` is False unless given.
    """

    kernel_argument = "depthwise"
    default_initializer = DepthwiseUniform

    @property
    def fan_in_shape(self) -> tuple[int, ...]:
        height, width, channels, multiplier = self.kernel.shape
        return height, width, channels * multiplier

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maps float32 images to float32 sums, `depth_multiplier` for every channel."""
        outputs = keras.ops.depthwise_conv(
            inputs,
            self.quantized_kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return self.finish(outputs)
