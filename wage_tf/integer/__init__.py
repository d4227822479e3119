"""The same network in integer arithmetic only: freeze a Keras model, then run and train it without a float.

The engine (`arithmetic`, `tensors`, `linear`, `nodes`, `graph`, `engine`) imports NumPy and nothing else; `freeze` and
`verify` import Keras when they are called. `Trainer`, `fit`, `attached` and `sync` are the native engine's
(`wage_tf.native.trainer`), in C and many times as fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from wage_tf.integer import arithmetic, linear, nodes
from wage_tf.integer.backends import infer, train_step
from wage_tf.integer.engine import backward, forward, update
from wage_tf.integer.graph import IMAGES, Graph, float_operands
from wage_tf.integer.tensors import Signal, Tensor

if TYPE_CHECKING:
    import keras

    from wage_tf.native.trainer import Trainer, attached, fit, sync

_NATIVE = ("Trainer", "attached", "fit", "sync")

__all__ = [
    "IMAGES",
    "Graph",
    "Signal",
    "Tensor",
    "Trainer",
    "arithmetic",
    "attached",
    "backward",
    "fit",
    "float_operands",
    "forward",
    "freeze",
    "infer",
    "linear",
    "nodes",
    "sync",
    "train_step",
    "update",
]


def freeze(model: keras.Model) -> Graph:
    """Reads the integers out of a trained or untrained model.

    Args:
        model: A Functional or Sequential model of layers that have integer nodes, nested models included, from raw
            uint8 images, with integer widths for W and A.

    Returns:
        The graph. A kernel has accumulators where its stored weights lie on their grid, which training needs; a frozen
        layer (trainable=False) stays as it is in training.

    Raises:
        UserError: If a layer has no node in the integer graph or an operand of the forward pass is float32; the
            message names the layer.
    """
    from wage_tf.integer.freezing import freeze as read

    return read(model)


def __getattr__(name: str) -> object:
    if name in _NATIVE:
        return getattr(importlib.import_module("wage_tf.native.trainer"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
