"""The pieces that the networks are composed of; each takes and returns a Keras tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras

from wage_tf.bits import BitWidths
from wage_tf.layers import QActivation, QConv2D, QDense, QError, QRescaling

Bits = BitWidths | str | Mapping[str, BitWidths | str]


def bits_of(bits: Bits, name: str) -> BitWidths:
    """Returns the pattern of the block `name`: of a mapping its own entry or that of `"*"`, else the one pattern.

    Raises:
        ValueError: If a mapping has neither.
    """
    if not isinstance(bits, Mapping):
        return BitWidths.parse(bits)
    if name not in bits and "*" not in bits:
        raise ValueError(f"bits: no pattern for the layer {name!r} and no '*' for the rest; received {dict(bits)}")
    return BitWidths.parse(bits.get(name, bits.get("*")))


def pixels(input_shape: Sequence[int], bits: Bits) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input, raw uint8 pixels, and its rescaled and quantized activations.

    Grey images go to x/256, colour images to x/128 − 1 (authors' code).
    """
    image = keras.Input(input_shape, dtype="uint8", name="image")
    scale, offset = (1 / 256, 0.0) if input_shape[-1] == 1 else (1 / 128, -1.0)
    return image, QRescaling(scale, offset, bits_of(bits, "rescale"), name="rescale")(image)


def conv(
    x: keras.KerasTensor,
    name: str,
    filters: int,
    kernel_size: int,
    bits: Bits,
    padding: str = "same",
    strides: int = 1,
    pool: int | None = None,
    pool_strides: int | None = None,
) -> keras.KerasTensor:
    """Convolution, max pooling where `pool` gives its window, ReLU, then Q_A and Q_E."""
    pattern = bits_of(bits, name)
    x = QConv2D(filters, kernel_size, strides=strides, padding=padding, bits=pattern, name=name)(x)
    if pool is not None:
        x = keras.layers.MaxPooling2D(pool, pool_strides, name=f"{name}_pool")(x)
    return QActivation(pattern, name=f"{name}_relu")(x)


def dense(x: keras.KerasTensor, name: str, units: int, bits: Bits) -> keras.KerasTensor:
    """Matrix product, ReLU, then Q_A and Q_E."""
    pattern = bits_of(bits, name)
    return QActivation(pattern, name=f"{name}_relu")(QDense(units, bits=pattern, name=name)(x))


def scores(x: keras.KerasTensor, name: str, units: int, bits: Bits) -> keras.KerasTensor:
    """The last matrix product: no ReLU, Q_E alone."""
    pattern = bits_of(bits, name)
    return QError(pattern, name=f"{name}_error")(QDense(units, bits=pattern, name=name)(x))


def clipped_scores(x: keras.KerasTensor, name: str, units: int, bits: Bits) -> keras.KerasTensor:
    """The last matrix product with Q_A, then Q_E: Q_A's mask stops the squared error from pulling outputs above 1 down.

    Backward: first Q_E, then the mask.
    """
    pattern = bits_of(bits, name)
    x = QDense(units, bits=pattern, name=name)(x)
    x = QActivation(pattern.replace(e=None), activation=None, name=f"{name}_clip")(x)
    return QError(pattern, name=f"{name}_error")(x)


def widen(units: int, width: float) -> int:
    """Units of a layer at a width multiplier, at least 1."""
    return max(1, round(units * width))
