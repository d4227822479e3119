"""The pieces that the networks are composed of; each maps a Keras tensor to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras

from wage_tf.bits import BitWidths, NetworkBits
from wage_tf.layers import QActivation, QConv2D, QDense, QError, QRescaling

Bits = NetworkBits | BitWidths | str | Mapping[str, BitWidths | str]


class Blocks:
    """Builds named blocks of one network at given bit widths.

    Args:
        bits: BitWidths or pattern of all blocks, or a mapping from block names to patterns with "*" for the rest.
        width: Multiplier of the hidden layers' units.
        gamma: γ of every QActivation and QError.
        **kernel_options: Arguments of every QConv2D and QDense, such as `beta=1.5` or `factor=2`.
    """

    def __init__(self, bits: Bits, width: float = 1.0, gamma: float = 1.0, **kernel_options: object):
        self.bits = NetworkBits.parse(bits)
        self.width = width
        self.gamma = gamma
        self.kernel_options = kernel_options

    def pixels(self, input_shape: Sequence[int]) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Returns the input, raw uint8 pixels, and its quantized activations.

        Grey images go to x/256, colour images to x/128 − 1 (authors' code).
        """
        image = keras.Input(input_shape, dtype="uint8", name="image")
        scale, offset = (1 / 256, 0.0) if input_shape[-1] == 1 else (1 / 128, -1.0)
        return image, QRescaling(scale, offset, self.bits.of("rescale"), name="rescale")(image)

    def conv(
        self,
        x: keras.KerasTensor,
        name: str,
        filters: int,
        kernel_size: int,
        padding: str = "same",
        strides: int = 1,
        pool: int | None = None,
        pool_strides: int | None = None,
    ) -> keras.KerasTensor:
        """Convolution, max pooling where `pool` gives its window, ReLU, then Q_A and Q_E."""
        bits = self.bits.of(name)
        filters = self._widen(filters)
        options = {"strides": strides, "padding": padding, **self.kernel_options}
        x = QConv2D(filters, kernel_size, bits=bits, name=name, **options)(x)
        if pool is not None:
            x = keras.layers.MaxPooling2D(pool, pool_strides, name=f"{name}_pool")(x)
        return QActivation(bits, gamma=self.gamma, name=f"{name}_relu")(x)

    def dense(self, x: keras.KerasTensor, name: str, units: int) -> keras.KerasTensor:
        """Matrix product, ReLU, then Q_A and Q_E."""
        bits = self.bits.of(name)
        return QActivation(bits, gamma=self.gamma, name=f"{name}_relu")(self._product(x, name, self._widen(units)))

    def scores(self, x: keras.KerasTensor, name: str, classes: int, clip: bool) -> keras.KerasTensor:
        """The last matrix product: no ReLU; Q_A where the outputs are clipped, then Q_E.

        Backward Q_E comes first, then Q_A's mask, which stops the squared error from pulling outputs above 1 back down.
        """
        bits = self.bits.of(name)
        x = self._product(x, name, classes)
        if clip:
            x = QActivation(bits.replace(e=None), activation=None, name=f"{name}_clip")(x)
        return QError(bits, gamma=self.gamma, name=f"{name}_error")(x)

    def _product(self, x: keras.KerasTensor, name: str, units: int) -> keras.KerasTensor:
        return QDense(units, bits=self.bits.of(name), name=name, **self.kernel_options)(x)

    def _widen(self, units: int) -> int:
        return max(1, round(units * self.width))
