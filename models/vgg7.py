"""VGG7 as the paper trains it on CIFAR-10 and SVHN: 2×128C3-MP2-2×256C3-MP2-2×512C3-MP2-1024FC-10, SAME padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from .blocks import Bits, Blocks


def vgg7(
    bits: Bits = "2-8-8-8",
    input_shape: Sequence[int] = (32, 32, 3),
    num_classes: int = 10,
    width: float = 1.0,
    clip_outputs: bool = False,
    **kernel_options: Any,
) -> keras.Model:
    """Builds VGG7; after the last layer only the error is quantized. Arguments as in `models.build`."""
    blocks = Blocks(bits, width, **kernel_options)
    image, x = blocks.pixels(input_shape)
    for stage, filters in enumerate((128, 256, 512)):
        x = blocks.conv(x, f"conv{2 * stage + 1}", filters, 3)
        x = blocks.conv(x, f"conv{2 * stage + 2}", filters, 3, pool=2)
    x = keras.layers.Flatten(name="flatten")(x)
    x = blocks.dense(x, "fc1", 1024)
    return keras.Model(image, blocks.scores(x, "fc2", num_classes, clip_outputs), name="vgg7")
