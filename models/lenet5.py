"""LeNet-5 as the paper trains it on MNIST: 32C5-MP2-64C5-MP2-512FC-10, VALID padding."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from models import blocks


def lenet5(
    bits: blocks.Bits = "2-8-8-8", input_shape: Sequence[int] = (28, 28, 1), num_classes: int = 10, width: float = 1.0
) -> keras.Model:
    """Builds LeNet-5; its outputs are quantized (Q_A, then Q_E). Maps uint8 images to scores [batch, classes]."""
    image, x = blocks.pixels(input_shape, bits)
    x = blocks.conv(x, "conv1", blocks.widen(32, width), 5, bits, padding="valid", pool=2)
    x = blocks.conv(x, "conv2", blocks.widen(64, width), 5, bits, padding="valid", pool=2)
    x = keras.layers.Flatten(name="flatten")(x)
    x = blocks.dense(x, "fc1", blocks.widen(512, width), bits)
    return keras.Model(image, blocks.clipped_scores(x, "fc2", num_classes, bits), name="lenet5")
