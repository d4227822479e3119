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
    from wage_tf.integer.freezing import freeze
    from wage_tf.native.trainer import Trainer, attached, fit, sync

_WITH_KERAS = {"freeze": "wage_tf.integer.freezing"}
_WITH_KERAS |= dict.fromkeys(("Trainer", "attached", "fit", "sync"), "wage_tf.native.trainer")

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


def __getattr__(name: str) -> object:
    if name in _WITH_KERAS:
        return getattr(importlib.import_module(_WITH_KERAS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
