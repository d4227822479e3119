"""A multilayer perceptron, 512FC-512FC-10: the smallest network to read and to try things on."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from models import blocks


def mlp(
    bits: blocks.Bits = "2-8-8-8", input_shape: Sequence[int] = (28, 28, 1), num_classes: int = 10, width: float = 1.0
) -> keras.Model:
    """Builds the perceptron; its outputs are quantized as LeNet-5's. Maps uint8 images to scores [batch, classes]."""
    image, x = blocks.pixels(input_shape, bits)
    x = keras.layers.Flatten(name="flatten")(x)
    x = blocks.dense(x, "fc1", blocks.widen(512, width), bits)
    x = blocks.dense(x, "fc2", blocks.widen(512, width), bits)
    return keras.Model(image, blocks.clipped_scores(x, "fc3", num_classes, bits), name="mlp")
