"""One web page that holds a network and the C runtime in WebAssembly: it infers, shows its codes, and goes on learning.

`page.html` is the page's frame, into which style, scripts, module and memory are written; `layout` makes the memory.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import string
import zlib
from pathlib import Path

import wage_tf
from wage_tf import files
from wage_tf.errors import UserError
from wage_tf.export.card import Card
from wage_tf.export.web.layout import lay_out
from wage_tf.integer.graph import Graph

BATCH = 16
"""The most drawn images that one step of the page learns from."""

_FOLDER = Path(__file__).parent
_SCRIPTS = ("network.js", "parts.js", "drawing.js", "pictures.js", "examples.js", "weights.js", "page.js")
_SIDES = range(8, 65)
_CHANNELS = (1, 3)
_MOST_CLASSES = 100


def write_web(path: str | os.PathLike, graph: Graph, card: Card) -> int:
    """Writes the page, whole or not at all.

    Args:
        path: The file.
        graph: The network, with accumulators.
        card: Its metadata.

    Returns:
        Its size in bytes.

    Raises:
        UserError: If the page cannot show the network's images or scores, or the native engine cannot train it.
    """
    return files.write_all({Path(path): page(graph, card, (_FOLDER / "wage.wasm").read_bytes())})


def page(graph: Graph, card: Card, module: bytes) -> bytes:
    """The page's content, with this WebAssembly module; raises as `write_web`."""
    _check(graph)
    memory, plan = lay_out(graph, BATCH)
    packed = zlib.compress(memory, 9)
    style = (_FOLDER / "page.css").read_text()
    script = "\n".join((_FOLDER / name).read_text() for name in _SCRIPTS)
    classes = graph.output.shape[0]
    labels = list(card.labels) if len(card.labels) == classes else [str(label) for label in range(classes)]
    fields = {
        "name": html.escape(card.name),
        "pattern": html.escape(card.pattern),
        "preprocessing": html.escape(card.preprocessing),
        "weights": f"{sum(kernel.codes.size for kernel in graph.kernels.values()):,}",
        "score_value": f"c / {2**graph.output.fraction}",
        "module_size": f"{len(module) / 1000:.0f}",
        "version": wage_tf.__version__,
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "plan": json.dumps({"labels": labels, **plan}).replace("<", "\\u003c"),
        "module": base64.b64encode(module).decode(),
        "image": base64.b64encode(packed).decode(),
    }
    frame = string.Template((_FOLDER / "page.html").read_text())
    size = sum(map(len, (frame.template, *fields.values())))
    return frame.substitute(fields, page_size=f"{size / 1000:,.0f} kB").encode(errors="replace")


def _check(graph: Graph) -> None:
    shape = graph.input_shape
    if len(shape) != 3 or any(side not in _SIDES for side in shape[:2]) or shape[2] not in _CHANNELS:
        raise UserError(
            f"web page: it shows images of {_SIDES[0]} to {_SIDES[-1]} pixels a side, grey or in three colours; "
            f"received images of shape {shape}"
        )
    if len(graph.output.shape) != 1 or graph.output.shape[0] > _MOST_CLASSES:
        raise UserError(
            f"web page: it shows the scores of at most {_MOST_CLASSES} classes; received scores of shape "
            f"{graph.output.shape}"
        )


def _hash(text: str) -> str:
    """What a Content-Security-Policy calls the one script or style that may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
