"""MLPerf Tiny's dense autoencoder for anomaly detection, without batch normalization."""

from __future__ import annotations

from typing import Any

import keras

from .blocks import Bits, Blocks


def autoencoder(
    bits: Bits = "2-8-8-8",
    inputs: int = 640,
    width: float = 1.0,
    clip_outputs: bool = True,
    **kernel_options: Any,
) -> keras.Model:
    """Builds the autoencoder 128FC×4-8FC-128FC×4-inputs, which gives back what it takes.

    Inputs x are uint8, such as a window of a spectrogram; the outputs say x/128 − 1 again, on the grid of activations.
    It is no classifier: Keras' `fit` trains it on the squared error, and the error of an input tells how unusual it is.

    Args:
        bits: As in `models.build`; the blocks are fc1 to fc10.
        inputs: Number of inputs and of outputs.
        width: Multiplier of every hidden layer's units.
        clip_outputs: Whether Q_A clips the outputs.
        **kernel_options: As in `models.build`.

    Returns:
        A Keras model from uint8 [batch, inputs] to float32 [batch, inputs].

    Examples:
        model = models.autoencoder()
        model.compile(wage_tf.optimizers.IntegerSGD(8.0), wage_tf.losses.SumSquaredError())
        model.fit(windows, windows / 128 - 1)
    """
    blocks = Blocks(bits, width, **kernel_options)
    window, x = blocks.pixels((inputs,))
    for place, units in enumerate([128] * 4 + [8] + [128] * 4, start=1):
        x = blocks.dense(x, f"fc{place}", units)
    return keras.Model(window, blocks.scores(x, "fc10", inputs, clip_outputs), name="autoencoder")
