"""Deployable artefacts of an integer graph: a packed file, C99 source, an int8 LiteRT or ONNX model, a web page.

`write_*` take a graph, and with it `read_packed` needs no TensorFlow; `export_model` takes a Keras model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wage_tf.export.c import write_c
from wage_tf.export.c_block import with_block
from wage_tf.export.c_tail import Training
from wage_tf.export.card import Card
from wage_tf.export.litert import write_litert
from wage_tf.export.litert_micro import write_litert_micro
from wage_tf.export.onnx import write_onnx
from wage_tf.export.packed import read_packed, write_packed
from wage_tf.export.web import write_web

if TYPE_CHECKING:
    import os

    import keras

    from wage_tf.export.model import Export

__all__ = [
    "Card",
    "Training",
    "export_model",
    "read_packed",
    "with_block",
    "write_c",
    "write_litert",
    "write_litert_micro",
    "write_onnx",
    "write_packed",
    "write_web",
]


def export_model(model: keras.Model, path: str | os.PathLike, to: str = "litert", **options: Any) -> Export:
    """Writes a Keras model in a form that runs without Keras; see `wage_tf.export.model.export_model`."""
    from wage_tf.export.model import export_model as export

    return export(model, path, to, **options)
