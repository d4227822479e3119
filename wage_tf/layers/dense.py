"""Fully connected layer with a quantized kernel."""

from __future__ import annotations

import keras
import tensorflow as tf

from wage_tf.layers.base import QuantizedKernel


@keras.saving.register_keras_serializable(package="wage_tf")
class QDense(QuantizedKernel, keras.layers.Dense):
    """`keras.layers.Dense` whose kernel is quantized: y = x · Q(W, k_W)/α (paper, eq. 10).

    Args:
        units: Number of outputs.
        bits: BitWidths or pattern; W applies here, G is the optimizer's.
        beta: See `initializers.grid_limit`.
        factor: See `initializers.fan_in_limit`: 1 in the authors' code, 2 in the paper.
        alpha: The layer's constant; None computes it (`initializers.layer_alpha`), 1.0 is the paper's as printed.
        **kwargs: Arguments of `keras.layers.Dense`; `use_bias` is False unless given.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps float32 [..., n_in] to [..., units]."""
        return self.finish(keras.ops.matmul(inputs, self.quantized_kernel))
