"""LeNet-5 as the paper trains it on MNIST: 32C5-MP2-64C5-MP2-512FC-10, VALID padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from .blocks import Bits, Blocks


def lenet5(
    bits: Bits = "2-8-8-8",
    input_shape: Sequence[int] = (28, 28, 1),
    num_classes: int = 10,
    width: float = 1.0,
    clip_outputs: bool = True,
    **kernel_options: Any,
) -> keras.Model:
    """Builds LeNet-5; its outputs are quantized (Q_A, then Q_E). Arguments as in `models.build`."""
    blocks = Blocks(bits, width, **kernel_options)
    image, x = blocks.pixels(input_shape)
    x = blocks.conv(x, "conv1", 32, 5, padding="valid", pool=2)
    x = blocks.conv(x, "conv2", 64, 5, padding="valid", pool=2)
    x = keras.layers.Flatten(name="flatten")(x)
    x = blocks.dense(x, "fc1", 512)
    return keras.Model(image, blocks.scores(x, "fc2", num_classes, clip_outputs), name="lenet5")
