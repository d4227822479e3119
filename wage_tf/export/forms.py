"""The forms of an export: how each is written from an integer graph, without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wage_tf.errors import UserError
from wage_tf.export.c import PREFIX, check_prefix, write_c
from wage_tf.export.c_tail import Training
from wage_tf.export.card import Card
from wage_tf.export.litert import write_litert
from wage_tf.export.litert_micro import write_litert_micro
from wage_tf.export.onnx import write_onnx
from wage_tf.export.packed import write_packed
from wage_tf.export.web import write_web
from wage_tf.integer.graph import Graph

FORMS: dict[str, tuple[str, Callable[..., int]]] = {
    "litert": (".tflite", write_litert),
    "litert-micro": ("-micro.tflite", write_litert_micro),
    "packed": (".wage", write_packed),
    "c": ("-c", write_c),
    "web": (".html", write_web),
    "onnx": (".onnx", write_onnx),
}
"""The suffix and the writer of every form."""


def check_form(
    path: str | os.PathLike,
    to: str,
    accumulators: bool = False,
    training: Training | None = None,
    prefix: str = PREFIX,
) -> dict[str, object]:
    """The options of a form's writer.

    Args:
        path: The file, for C the folder.
        to: A name in `FORMS`.
        accumulators: Keep the stored weights in a packed file.
        training: How a device trains; None for inference alone.
        prefix: What all names in C begin with.

    Raises:
        UserError: If there is no such form, it does not take an option, or the path is of another kind.
    """
    if to not in FORMS:
        raise UserError(f"to: one of {', '.join(FORMS)}; received {to!r}")
    if accumulators and to != "packed":
        raise UserError(f"accumulators: only a packed file holds them; received to = {to!r}")
    if training is not None and to != "c":
        raise UserError(f"training: only C goes on learning; received to = {to!r}")
    if prefix != PREFIX and to != "c":
        raise UserError(f"prefix: only C has names; received to = {to!r}")
    check_prefix(prefix)
    if to != "c" and Path(path).is_dir():
        raise UserError(f"{path} is a folder: {to} goes into a file")
    if to == "c":
        return {"training": training, "prefix": prefix}
    return {"accumulators": True} if accumulators else {}


def write_form(path: str | os.PathLike, to: str, graph: Graph, card: Card, **options: Any) -> int:
    """Writes a graph with its card; returns bytes. Options as in `check_form`.

    Raises:
        UserError: See `check_form`, or the graph has no such form.
    """
    return FORMS[to][1](path, graph, card, **check_form(path, to, **options))
