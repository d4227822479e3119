"""Residual networks without batch normalization: MLPerf Tiny's ResNet-8, and ResNet-20 of He et al."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from .blocks import Bits, Blocks


def resnet8(
    bits: Bits = "2-8-8-8",
    input_shape: Sequence[int] = (32, 32, 3),
    num_classes: int = 10,
    width: float = 1.0,
    clip_outputs: bool = False,
    **kernel_options: Any,
) -> keras.Model:
    """Builds ResNet-8, one block for each of 16, 32 and 64 filters (MLPerf Tiny's image classification).

    32×32 pixels end at 8×8, whose average is a shift (`Blocks.average` for other sizes); after the last layer only the
    error is quantized. Arguments as in `models.build`.
    """
    return _resnet("resnet8", 1, Blocks(bits, width, **kernel_options), input_shape, num_classes, clip_outputs)


def resnet20(
    bits: Bits = "2-8-8-8",
    input_shape: Sequence[int] = (32, 32, 3),
    num_classes: int = 10,
    width: float = 1.0,
    clip_outputs: bool = False,
    **kernel_options: Any,
) -> keras.Model:
    """Builds ResNet-20, three blocks for each of 16, 32 and 64 filters (He et al., 2016, on CIFAR-10).

    As `resnet8`; where shapes change, a 1×1 convolution stands beside the block. Arguments as in `models.build`.
    """
    return _resnet("resnet20", 3, Blocks(bits, width, **kernel_options), input_shape, num_classes, clip_outputs)


def _resnet(
    name: str, depth: int, blocks: Blocks, input_shape: Sequence[int], num_classes: int, clip_outputs: bool
) -> keras.Model:
    """A residual network of `depth` blocks for each number of filters."""
    image, x = blocks.pixels(input_shape)
    x = blocks.conv(x, "conv1", 16, 3)
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(depth):
            strides = 2 if stage > 0 and block == 0 else 1
            x = blocks.residual(x, f"block{stage * depth + block + 1}", filters, strides)
    x = blocks.average(x, f"block{3 * depth}_conv2")
    return keras.Model(image, blocks.scores(x, "fc1", num_classes, clip_outputs), name=name)
