"""AlexNet as the paper trains it on ImageNet.

96C11/4-MP3/2-256C5-MP3/2-384C3-384C3-256C3-MP3/2-4096FC-4096FC-1000, convolutions SAME, poolings VALID.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from .blocks import Bits, Blocks


def alexnet(
    bits: Bits = "2-8-8-8",
    input_shape: Sequence[int] = (224, 224, 3),
    num_classes: int = 1000,
    width: float = 1.0,
    clip_outputs: bool = False,
    **kernel_options: Any,
) -> keras.Model:
    """Builds AlexNet; after the last layer only the error is quantized. Arguments as in `models.build`."""
    blocks = Blocks(bits, width, **kernel_options)
    image, x = blocks.pixels(input_shape)
    x = blocks.conv(x, "conv1", 96, 11, strides=4, pool=3, pool_strides=2)
    x = blocks.conv(x, "conv2", 256, 5, pool=3, pool_strides=2)
    x = blocks.conv(x, "conv3", 384, 3)
    x = blocks.conv(x, "conv4", 384, 3)
    x = blocks.conv(x, "conv5", 256, 3, pool=3, pool_strides=2)
    x = keras.layers.Flatten(name="flatten")(x)
    x = blocks.dense(x, "fc1", 4096)
    x = blocks.dense(x, "fc2", 4096)
    return keras.Model(image, blocks.scores(x, "fc3", num_classes, clip_outputs), name="alexnet")
