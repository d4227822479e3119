"""Every public class of wage_tf, constructed in every kind of way; test_contracts.py says what they must fulfil.

A new public class gets a line in CASES (a layer with its input) and nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

import wage_tf


@dataclasses.dataclass
class Case:
    """One way to construct a public class; layers also say what they take."""

    name: str
    make: Callable
    input_shape: tuple = ()
    input_dtype: str = "float32"


layers = wage_tf.layers
LAYERS = [
    Case("QConv2D", lambda: layers.QConv2D(4, 3, padding="same"), (6, 6, 3)),
    Case(
        "QConv2D-arguments",
        lambda: layers.QConv2D(
            5, (3, 2), strides=2, bits="4-8-12-f", beta=1.5, factor=2.0, alpha=4.0, use_bias=True, activation="relu"
        ),
        (7, 7, 2),
    ),
    Case("QConv2D-float", lambda: layers.QConv2D(4, 3, bits="f-f-f-f"), (6, 6, 3)),
    Case(
        "QConv2D-initializer",
        lambda: layers.QConv2D(
            4,
            3,
            kernel_initializer=wage_tf.initializers.ClampedUniform("2-8-8-8", seed=3),
            kernel_constraint=wage_tf.constraints.ClipToGrid(8),
        ),
        (6, 6, 3),
    ),
    Case("QDepthwiseConv2D", lambda: layers.QDepthwiseConv2D(3, padding="same"), (6, 6, 3)),
    Case(
        "QDepthwiseConv2D-arguments",
        lambda: layers.QDepthwiseConv2D(
            (3, 2), depth_multiplier=2, dilation_rate=2, bits="8-4-8-8", alpha=2.0, use_bias=True, activation="relu"
        ),
        (7, 7, 2),
    ),
    Case("QDense", lambda: layers.QDense(7), (12,)),
    Case("QDense-arguments", lambda: layers.QDense(3, bits="1-4-8-8", use_bias=True, activation="tanh"), (5, 12)),
    Case("FloatBias", lambda: layers.FloatBias(), (6, 6, 3)),
    Case("FloatBias-initializer", lambda: layers.FloatBias(keras.initializers.Constant(0.5)), (5,)),
    Case("QActivation", lambda: layers.QActivation(), (6, 5)),
    Case("QActivation-linear", lambda: layers.QActivation("2-4-8-f", activation=None), (6, 5)),
    Case("QActivation-tanh", lambda: layers.QActivation(wage_tf.BitWidths(2, 6, 8, 6), activation="tanh"), (6, 5)),
    Case("QActivation-float", lambda: layers.QActivation("2-f-8-8"), (6, 5)),
    Case("QGlobalMaxPooling2D", lambda: layers.QGlobalMaxPooling2D(), (5, 4, 3)),
    Case("QGlobalMaxPooling2D-keepdims", lambda: layers.QGlobalMaxPooling2D(keepdims=True), (5, 4, 3)),
    Case("QError", lambda: layers.QError("2-8-8-4"), (6, 5)),
    Case("QRescaling", lambda: layers.QRescaling(1 / 128, -1.0), (6, 6, 3), "uint8"),
    Case("QRescaling-grey", lambda: layers.QRescaling(1 / 256, bits="2-4-8-8"), (6, 6, 1), "uint8"),
]
OTHERS = [
    Case("SumSquaredError", lambda: wage_tf.losses.SumSquaredError()),
    Case("SumSquaredError-mean", lambda: wage_tf.losses.SumSquaredError("mean", name="sse")),
    Case("ErrorRate", lambda: wage_tf.metrics.ErrorRate()),
    Case("ReconstructionError", lambda: wage_tf.metrics.ReconstructionError()),
    Case("ReconstructionError-name", lambda: wage_tf.metrics.ReconstructionError(name="test_error")),
    Case("ErrorRate-name", lambda: wage_tf.metrics.ErrorRate(name="test_error")),
    Case("ClampedUniform", lambda: wage_tf.initializers.ClampedUniform()),
    Case("ClampedUniform-arguments", lambda: wage_tf.initializers.ClampedUniform("4-8-8-8", 1.5, 2.0, seed=4)),
    Case("DepthwiseUniform", lambda: wage_tf.initializers.DepthwiseUniform("8-8-8-8", 1.5, 2.0, seed=4)),
    Case("ClipToGrid", lambda: wage_tf.constraints.ClipToGrid(2)),
    Case("ClipToRange", lambda: wage_tf.constraints.ClipToRange(8.0)),
    Case("IntegerSGD", lambda: wage_tf.optimizers.IntegerSGD(8.0, seed=5)),
    Case("IntegerSGD-float", lambda: wage_tf.optimizers.IntegerSGD(0.01, None)),
    Case(
        "IntegerSGD-arguments",
        lambda: wage_tf.optimizers.IntegerSGD(
            keras.optimizers.schedules.PiecewiseConstantDecay([10, 20], [8.0, 1.0, 0.125]),
            {"a/kernel": 8, "b/kernel": None},
            seed=6,
            random_width=12,
            name="wage",
        ),
    ),
]
CASES = LAYERS + OTHERS


def inputs_of(case, batch=4, seed=0):
    numbers = np.random.default_rng(seed)
    shape = (batch, *case.input_shape)
    if case.input_dtype == "uint8":
        return numbers.integers(0, 256, shape).astype(np.uint8)
    return (numbers.integers(-160, 161, shape) / 128).astype(np.float32)
