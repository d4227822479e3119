"""The pieces that the networks are composed of; each maps a Keras tensor to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from wage_tf.bits import BitWidths, NetworkBits
from wage_tf.layers import QActivation, QConv2D, QDense, QDepthwiseConv2D, QError, QRescaling

Bits = NetworkBits | BitWidths | str | Mapping[str, BitWidths | str]


def pixel_scale(input_shape: Sequence[int]) -> tuple[float, float]:
    """Scale and offset of raw pixels: grey images go to x/256, others to x/128 − 1 (authors' code)."""
    return (1 / 256, 0.0) if input_shape[-1] == 1 else (1 / 128, -1.0)


class Blocks:
    """Builds named blocks of one network at given bit widths.

    Args:
        bits: BitWidths or pattern of all blocks, or a mapping from block names to patterns with "*" for the rest.
        width: Multiplier of the hidden layers' units.
        gamma: γ of every QActivation and QError.
        **kernel_options: Arguments of every layer with a kernel, such as `beta=1.5` or `factor=2`.
    """

    def __init__(self, bits: Bits, width: float = 1.0, gamma: float = 1.0, **kernel_options: Any):
        self.bits = NetworkBits.parse(bits)
        self.width = width
        self.gamma = gamma
        self.kernel_options = kernel_options

    def pixels(self, input_shape: Sequence[int]) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Returns the input, raw uint8 pixels, and its quantized activations."""
        image = keras.Input(input_shape, dtype="uint8", name="image")
        scale, offset = pixel_scale(input_shape)
        return image, QRescaling(scale, offset, self.bits.of("rescale"), name="rescale")(image)

    def conv(
        self,
        x: keras.KerasTensor,
        name: str,
        filters: int,
        kernel_size: int | tuple[int, int],
        padding: str = "same",
        strides: int = 1,
        pool: int | None = None,
        pool_strides: int | None = None,
    ) -> keras.KerasTensor:
        """Convolution, max pooling where `pool` gives its window, ReLU, then Q_A and Q_E."""
        x = self._convolution(x, name, filters, kernel_size, strides, padding)
        if pool is not None:
            x = keras.layers.MaxPooling2D(pool, pool_strides, name=f"{name}_pool")(x)
        return self._relu(x, name)

    def residual(self, x: keras.KerasTensor, name: str, filters: int, strides: int = 1) -> keras.KerasTensor:
        """y = Q_A(ReLU(F(x) + x)), where F is two 3×3 convolutions with a ReLU and Q_A between them.

        Where the shape changes, a 1×1 convolution takes the place of x. The sum is that of integers on the finer grid
        of the two; nothing is rounded before ReLU. Backward, Q_E sends the same error into F and past it (He et al.,
        arXiv 1512.03385, without batch normalization).

        Args:
            x: Activations.
            name: Prefix of the blocks `conv1`, `conv2`, whose pattern also quantizes y, and `skip`, of 1×1.
            filters: Output channels, before the width multiplier.
            strides: Of `conv1` and `skip`.
        """
        last = f"{name}_conv2"
        branch = self.conv(x, f"{name}_conv1", filters, 3, strides=strides)
        branch = self._convolution(branch, last, filters, 3)
        if branch.shape != x.shape:
            x = self._convolution(x, f"{name}_skip", filters, 1, strides)
        return self._relu(keras.layers.Add(name=f"{name}_add")([branch, x]), last)

    def separable(self, x: keras.KerasTensor, name: str, filters: int, strides: int = 1) -> keras.KerasTensor:
        """A 3×3 convolution of every channel by itself, then a 1×1 convolution across them, each as in `conv`.

        Args:
            x: Activations.
            name: Prefix of the blocks `depthwise` and `pointwise`.
            filters: Output channels, before the width multiplier.
            strides: Of the depthwise convolution.
        """
        depthwise = f"{name}_depthwise"
        options = {option.replace("kernel", "depthwise"): value for option, value in self.kernel_options.items()}
        options |= {"strides": strides, "padding": "same", "bits": self.bits.of(depthwise)}
        x = self._relu(QDepthwiseConv2D(3, name=depthwise, **options)(x), depthwise)
        return self.conv(x, f"{name}_pointwise", filters, 1)

    def average(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """The sum over all positions, divided by the next power of two to their number, then Q_A and Q_E.

        Where there are 2^n positions that is global average pooling. Elsewhere zeros fill them up to 2^n, because only
        then is the division a shift: 3×3 values are summed and divided by 16, 25×5 by 128.

        Args:
            x: Activations [batch, height, width, channels].
            name: The block that they come from; its pattern applies.
        """
        height, width, channels = x.shape[1:]
        area = height * width
        missing = (1 << (area - 1).bit_length()) - area
        if missing:
            x = keras.layers.Reshape((area, 1, channels), name=f"{name}_positions")(x)
            x = keras.layers.ZeroPadding2D(((0, missing), (0, 0)), name=f"{name}_fill")(x)
        x = keras.layers.GlobalAveragePooling2D(name=f"{name}_sum")(x)
        return QActivation(self.bits.of(name), activation=None, gamma=self.gamma, name=f"{name}_average")(x)

    def dense(self, x: keras.KerasTensor, name: str, units: int) -> keras.KerasTensor:
        """Matrix product, ReLU, then Q_A and Q_E."""
        return self._relu(self._product(x, name, self._widen(units)), name)

    def scores(self, x: keras.KerasTensor, name: str, classes: int, clip: bool) -> keras.KerasTensor:
        """The last matrix product: no ReLU; Q_A where the outputs are clipped, then Q_E.

        Backward Q_E comes first, then Q_A's mask, which stops the squared error from pulling outputs above 1 back down.
        """
        bits = self.bits.of(name)
        x = self._product(x, name, classes)
        if clip:
            x = QActivation(bits.replace(e=None), activation=None, name=f"{name}_clip")(x)
        return QError(bits, gamma=self.gamma, name=f"{name}_error")(x)

    def _convolution(
        self,
        x: keras.KerasTensor,
        name: str,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int = 1,
        padding: str = "same",
    ) -> keras.KerasTensor:
        options = {"strides": strides, "padding": padding, "bits": self.bits.of(name), **self.kernel_options}
        return QConv2D(self._widen(filters), kernel_size, name=name, **options)(x)

    def _product(self, x: keras.KerasTensor, name: str, units: int) -> keras.KerasTensor:
        return QDense(units, bits=self.bits.of(name), name=name, **self.kernel_options)(x)

    def _relu(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return QActivation(self.bits.of(name), gamma=self.gamma, name=f"{name}_relu")(x)

    def _widen(self, units: int) -> int:
        return max(1, round(units * self.width))
