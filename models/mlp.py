"""Multilayer perceptrons: 512-512-10, the smallest network to read and to try things on, and those of PocketNN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from .blocks import Bits, Blocks


def mlp(
    bits: Bits = "2-8-8-8",
    input_shape: Sequence[int] = (28, 28, 1),
    num_classes: int = 10,
    width: float = 1.0,
    clip_outputs: bool = True,
    **kernel_options: Any,
) -> keras.Model:
    """Builds the perceptron 512-512-10; its outputs are quantized as LeNet-5's. Arguments as in `models.build`."""
    return _perceptron("mlp", (512, 512), bits, input_shape, num_classes, width, clip_outputs, **kernel_options)


def mlp_100_50(
    bits: Bits = "2-8-8-8",
    input_shape: Sequence[int] = (28, 28, 1),
    num_classes: int = 10,
    width: float = 1.0,
    clip_outputs: bool = True,
    **kernel_options: Any,
) -> keras.Model:
    """Builds 100-50-10, which PocketNN (Song and Lin, 2022) and NITRO-D train on MNIST. Arguments as in `mlp`."""
    return _perceptron("mlp_100_50", (100, 50), bits, input_shape, num_classes, width, clip_outputs, **kernel_options)


def mlp_200_100_50(
    bits: Bits = "2-8-8-8",
    input_shape: Sequence[int] = (28, 28, 1),
    num_classes: int = 10,
    width: float = 1.0,
    clip_outputs: bool = True,
    **kernel_options: Any,
) -> keras.Model:
    """Builds 200-100-50-10, which PocketNN and NITRO-D train on Fashion-MNIST. Arguments as in `mlp`."""
    hidden = (200, 100, 50)
    return _perceptron("mlp_200_100_50", hidden, bits, input_shape, num_classes, width, clip_outputs, **kernel_options)


def _perceptron(
    name: str,
    hidden: Sequence[int],
    bits: Bits,
    input_shape: Sequence[int],
    num_classes: int,
    width: float,
    clip_outputs: bool,
    **kernel_options: Any,
) -> keras.Model:
    blocks = Blocks(bits, width, **kernel_options)
    image, x = blocks.pixels(input_shape)
    x = keras.layers.Flatten(name="flatten")(x)
    for number, units in enumerate(hidden, 1):
        x = blocks.dense(x, f"fc{number}", units)
    return keras.Model(image, blocks.scores(x, f"fc{len(hidden) + 1}", num_classes, clip_outputs), name=name)
