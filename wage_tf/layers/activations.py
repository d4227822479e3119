"""Layers that put activations and errors on their grids: QActivation, QError and the input's QRescaling."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from wage_tf.bits import BitWidths
from wage_tf.layers.base import check_float32
from wage_tf.quantizers import check_gamma, quantize_activation, quantize_error, quantized_relu


@keras.saving.register_keras_serializable(package="wage_tf")
class QActivation(keras.layers.Layer):
    """An activation function, then the pair Q_A forward and Q_E backward (paper, fig. 1).

    Forward: Q(f(x), k_A). Backward: Q_A's mask, then Q_E, then f's own gradient.

    Args:
        bits: BitWidths or pattern; A and E apply here, each may be f.
        activation: Name or function; "relu" runs fused with the quantizers, None leaves only these.
        gamma: See `quantizers.quantize_error`.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        bits: BitWidths | str = "2-8-8-8",
        activation: str | Callable | None = "relu",
        gamma: float = 1.0,
        **kwargs: object,
    ):
        super().__init__(**kwargs)
        check_float32(self)
        self.bits = BitWidths.parse(bits)
        self.gamma = check_gamma(gamma)
        self.activation = keras.activations.get(activation)
        self.supports_masking = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maps float32 to float32 of the same shape."""
        is_fused = self.activation is keras.activations.relu and self.gamma == 1
        if is_fused and self.bits.a is not None and self.bits.e is not None:
            return quantized_relu(inputs, self.bits)
        return quantize_activation(quantize_error(self.activation(inputs), self.bits, self.gamma), self.bits)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict:
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "bits": str(self.bits), "activation": activation, "gamma": self.gamma}


@keras.saving.register_keras_serializable(package="wage_tf")
class QError(keras.layers.Layer):
    """Q_E alone: identity forward, the error quantized backward (paper, eq. 12); stands after the last matmul.

    Args:
        bits: BitWidths or pattern; E applies here.
        gamma: See `quantizers.quantize_error`.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, bits: BitWidths | str = "2-8-8-8", gamma: float = 1.0, **kwargs: object):
        super().__init__(**kwargs)
        check_float32(self)
        self.bits = BitWidths.parse(bits)
        self.gamma = check_gamma(gamma)
        self.supports_masking = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns `inputs` unchanged."""
        return quantize_error(inputs, self.bits, self.gamma)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "bits": str(self.bits), "gamma": self.gamma}


@keras.saving.register_keras_serializable(package="wage_tf")
class QRescaling(keras.layers.Layer):
    """Raw pixels to the k_A-bit grid: Q(scale·x + offset, k_A). The first layer of a network.

    With a power-of-two scale, as in all recipes, the result is exact.

    Args:
        scale: Factor, 1/128 for colour and 1/256 for MNIST.
        offset: Offset after scaling, −1 for colour and 0 for MNIST.
        bits: BitWidths or pattern; A applies here.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, scale: float, offset: float = 0.0, bits: BitWidths | str = "2-8-8-8", **kwargs: object):
        super().__init__(**kwargs)
        check_float32(self)
        self.scale = scale
        self.offset = offset
        self.bits = BitWidths.parse(bits)
        self.supports_masking = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maps uint8 or float32 pixels to float32 of the same shape."""
        scaled = keras.ops.cast(inputs, "float32") * self.scale + self.offset
        return quantize_activation(scaled, self.bits)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "scale": self.scale, "offset": self.offset, "bits": str(self.bits)}
