"""A multilayer perceptron, 512FC-512FC-10: the smallest network to read and to try things on."""

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
    """Builds the perceptron; its outputs are quantized as LeNet-5's. Arguments as in `models.build`."""
    blocks = Blocks(bits, width, **kernel_options)
    image, x = blocks.pixels(input_shape)
    x = keras.layers.Flatten(name="flatten")(x)
    x = blocks.dense(x, "fc1", 512)
    x = blocks.dense(x, "fc2", 512)
    return keras.Model(image, blocks.scores(x, "fc3", num_classes, clip_outputs), name="mlp")
