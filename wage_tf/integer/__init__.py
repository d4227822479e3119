"""The same network in integer arithmetic only: freeze a Keras model, then run and train it without a float.

The engine (`graph`, `arithmetic`, `linear`, `engine`) imports NumPy and nothing else; `freeze` and `verify` import
Keras when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wage_tf.integer import arithmetic, linear
from wage_tf.integer.engine import backward, forward, infer, train_step, update
from wage_tf.integer.graph import (
    Activation,
    Conv2D,
    Dense,
    Error,
    Flatten,
    Graph,
    Kernel,
    MaxPool2D,
    Rescale,
    float_operands,
)

if TYPE_CHECKING:
    import keras

__all__ = [
    "Activation",
    "Conv2D",
    "Dense",
    "Error",
    "Flatten",
    "Graph",
    "Kernel",
    "MaxPool2D",
    "Rescale",
    "arithmetic",
    "backward",
    "float_operands",
    "forward",
    "freeze",
    "infer",
    "linear",
    "train_step",
    "update",
]


def freeze(model: keras.Model) -> Graph:
    """Reads the integers out of a Keras model; see `wage_tf.integer.freezing.freeze`."""
    from wage_tf.integer.freezing import freeze as read

    return read(model)
