"""Deployable artefacts of an integer graph: a packed file, C99 source, an int8 LiteRT model.

`write_*` take a graph, and with it `read_packed` needs no TensorFlow; `export_run` takes a run directory.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wage_tf.export.c import write_c
from wage_tf.export.card import Card
from wage_tf.export.litert import write_litert
from wage_tf.export.packed import read_packed, write_packed

if TYPE_CHECKING:
    from wage_tf.export.run import Export

__all__ = ["Card", "export_run", "read_packed", "write_c", "write_litert", "write_packed"]


def export_run(
    run_dir: str | os.PathLike, to: str, out: str | os.PathLike | None = None, accumulators: bool = False
) -> Export:
    """Exports the model of a run directory; see `wage_tf.export.run.export_run`."""
    from wage_tf.export.run import export_run as export

    return export(run_dir, to, out, accumulators)
