"""MLPerf Tiny's dense autoencoder for anomaly detection, without batch normalization."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from .blocks import Bits, Blocks


def autoencoder(
    bits: Bits = "2-8-8-8",
    input_shape: Sequence[int] = (640,),
    width: float = 1.0,
    clip_outputs: bool = True,
    **kernel_options: Any,
) -> keras.Model:
    """Builds the autoencoder 128FC×4-8FC-128FC×4-n, which gives back the n numbers that it takes.

    Inputs x are uint8, such as a window of a spectrogram or an image. The outputs say again what the network sees of
    them, x/128 − 1 or for grey images x/256, on the grid of activations (`models.pixel_scale`). It is no classifier: it
    is trained on the squared error between the two, which then tells how unusual an input is.

    Args:
        bits: As in `models.build`; the blocks are fc1 to fc10.
        input_shape: Shape of an input, of n numbers.
        width: Multiplier of every hidden layer's units.
        clip_outputs: Whether Q_A clips the outputs.
        **kernel_options: As in `models.build`.

    Returns:
        A Keras model from uint8 [batch, *input_shape] to float32 [batch, n].

    Examples:
        ```python
        model = models.autoencoder()
        model.compile(wage_tf.optimizers.IntegerSGD(8.0), wage_tf.losses.SumSquaredError())
        model.fit(windows, windows / 128 - 1)
        ```
    """
    blocks = Blocks(bits, width, **kernel_options)
    window, x = blocks.pixels(input_shape)
    if len(input_shape) > 1:
        x = keras.layers.Flatten(name="flatten")(x)
    for place, units in enumerate([128] * 4 + [8] + [128] * 4, start=1):
        x = blocks.dense(x, f"fc{place}", units)
    outputs = blocks.scores(x, "fc10", math.prod(input_shape), clip_outputs)
    return keras.Model(window, outputs, name="autoencoder")
