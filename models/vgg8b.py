"""VGG8B, which NITRO-D trains: 128C3-256C3-MP2-256C3-512C3-MP2-2×(512C3-MP2)-1024FC-10, SAME padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from .blocks import Bits, Blocks


def vgg8b(
    bits: Bits = "2-8-8-8",
    input_shape: Sequence[int] = (32, 32, 3),
    num_classes: int = 10,
    width: float = 1.0,
    clip_outputs: bool = False,
    **kernel_options: Any,
) -> keras.Model:
    """Builds VGG8B of Nøkland and Eidnes (2019), which NITRO-D trains. Arguments as in `models.build`."""
    blocks = Blocks(bits, width, **kernel_options)
    image, x = blocks.pixels(input_shape)
    x = blocks.conv(x, "conv1", 128, 3)
    x = blocks.conv(x, "conv2", 256, 3, pool=2)
    x = blocks.conv(x, "conv3", 256, 3)
    x = blocks.conv(x, "conv4", 512, 3, pool=2)
    x = blocks.conv(x, "conv5", 512, 3, pool=2)
    x = blocks.conv(x, "conv6", 512, 3, pool=2)
    x = keras.layers.Flatten(name="flatten")(x)
    x = blocks.dense(x, "fc1", 1024)
    return keras.Model(image, blocks.scores(x, "fc2", num_classes, clip_outputs), name="vgg8b")
