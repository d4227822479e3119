"""VGG7 as the paper trains it on CIFAR-10 and SVHN: 2×128C3-MP2-2×256C3-MP2-2×512C3-MP2-1024FC-10, SAME padding."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from models import blocks


def vgg7(
    bits: blocks.Bits = "2-8-8-8", input_shape: Sequence[int] = (32, 32, 3), num_classes: int = 10, width: float = 1.0
) -> keras.Model:
    """Builds VGG7; only the error is quantized after the last layer. Maps uint8 images to scores [batch, classes]."""
    image, x = blocks.pixels(input_shape, bits)
    for stage, filters in enumerate((128, 256, 512)):
        filters = blocks.widen(filters, width)
        x = blocks.conv(x, f"conv{2 * stage + 1}", filters, 3, bits)
        x = blocks.conv(x, f"conv{2 * stage + 2}", filters, 3, bits, pool=2)
    x = keras.layers.Flatten(name="flatten")(x)
    x = blocks.dense(x, "fc1", blocks.widen(1024, width), bits)
    return keras.Model(image, blocks.scores(x, "fc2", num_classes, bits), name="vgg7")
