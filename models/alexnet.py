"""AlexNet as the paper trains it on ImageNet.

96C11/4-MP3/2-256C5-MP3/2-384C3-384C3-256C3-MP3/2-4096FC-4096FC-1000, convolutions SAME, poolings VALID.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from models import blocks


def alexnet(
    bits: blocks.Bits = "2-8-8-8",
    input_shape: Sequence[int] = (224, 224, 3),
    num_classes: int = 1000,
    width: float = 1.0,
) -> keras.Model:
    """Builds AlexNet; only the error is quantized after the last layer. Maps uint8 images to logits [batch, classes]."""
    image, x = blocks.pixels(input_shape, bits)
    x = blocks.conv(x, "conv1", blocks.widen(96, width), 11, bits, strides=4, pool=3, pool_strides=2)
    x = blocks.conv(x, "conv2", blocks.widen(256, width), 5, bits, pool=3, pool_strides=2)
    x = blocks.conv(x, "conv3", blocks.widen(384, width), 3, bits)
    x = blocks.conv(x, "conv4", blocks.widen(384, width), 3, bits)
    x = blocks.conv(x, "conv5", blocks.widen(256, width), 3, bits, pool=3, pool_strides=2)
    x = keras.layers.Flatten(name="flatten")(x)
    x = blocks.dense(x, "fc1", blocks.widen(4096, width), bits)
    x = blocks.dense(x, "fc2", blocks.widen(4096, width), bits)
    return keras.Model(image, blocks.scores(x, "fc3", num_classes, bits), name="alexnet")
