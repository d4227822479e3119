"""DS-CNN, the depthwise separable network for keyword spotting, without batch normalization and dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from .blocks import Bits, Blocks


def ds_cnn(
    bits: Bits = "2-8-8-8",
    input_shape: Sequence[int] = (49, 10, 1),
    num_classes: int = 12,
    width: float = 1.0,
    clip_outputs: bool = False,
    **kernel_options: Any,
) -> keras.Model:
    """Builds DS-CNN as MLPerf Tiny has it (Zhang et al., arXiv 1711.07128): 64C10×4/2 and four separable blocks of 64.

    The image is a spectrogram as uint8: 49 frames of 10 coefficients. It ends at 25×5, whose sum is divided by 128 and
    not by 125 (`Blocks.average`); after the last layer only the error is quantized. Arguments as in `models.build`.
    """
    blocks = Blocks(bits, width, **kernel_options)
    image, x = blocks.pixels(input_shape)
    x = blocks.conv(x, "conv1", 64, (10, 4), strides=2)
    for place in range(1, 5):
        x = blocks.separable(x, f"block{place}", 64)
    x = blocks.average(x, "block4_pointwise")
    return keras.Model(image, blocks.scores(x, "fc1", num_classes, clip_outputs), name="ds_cnn")
