"""MobileNet V1 of Howard et al., without batch normalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from .blocks import Bits, Blocks

_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""Filters and strides of the separable blocks."""


def mobilenet(
    bits: Bits = "2-8-8-8",
    input_shape: Sequence[int] = (96, 96, 3),
    num_classes: int = 2,
    width: float = 1.0,
    clip_outputs: bool = False,
    **kernel_options: Any,
) -> keras.Model:
    """Builds MobileNet (arXiv 1704.04861); at width 0.25 on 96×96 pixels it is MLPerf Tiny's for visual wake words.

    96×96 pixels end at 3×3, whose sum is divided by 16 and not by 9 (`Blocks.average`); after the last layer only the
    error is quantized. Arguments as in `models.build`.
    """
    blocks = Blocks(bits, width, **kernel_options)
    image, x = blocks.pixels(input_shape)
    x = blocks.conv(x, "conv1", 32, 3, strides=2)
    for place, (filters, strides) in enumerate(_BLOCKS, start=1):
        x = blocks.separable(x, f"block{place}", filters, strides)
    x = blocks.average(x, f"block{len(_BLOCKS)}_pointwise")
    return keras.Model(image, blocks.scores(x, "fc1", num_classes, clip_outputs), name="mobilenet")
