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
    """Writes a Keras model in a form that runs without Keras; the model stays as it is.

    Args:
        model: A model that `wage_tf.integer.freeze` takes.
        path: The file, for C the folder.
        to: "litert", "litert-micro", "packed", "c", "web" or "onnx".
        **options: `name`, what the file says the network is called, in place of the model's name; `labels`, names of
            the classes in the order of the scores; `accumulators=True`, which keeps the stored weights in a packed
            file, so that training can go on; `training`, a `Training`, for C that goes on learning on the device;
            `prefix`, what all names in C begin with, so that several networks can be in one program.

    Returns:
        What was made, with its `.path`, `.size` and `.float_size` in bytes, `.macs` of an image, `.buffer` in bytes and
        `.energy` in µJ of an image; as a string one line that says so.

    Raises:
        UserError: If the model has no such form, or the path is of another kind.
    """
    from wage_tf.export.model import export_model as export

    return export(model, path, to, **options)
