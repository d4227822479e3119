"""Deployable artefacts of an integer graph: a packed file, C99 source, an int8 LiteRT model."""

from wage_tf.export.c import write_c
from wage_tf.export.card import Card
from wage_tf.export.litert import write_litert
from wage_tf.export.packed import read_packed, write_packed

__all__ = ["Card", "read_packed", "write_c", "write_litert", "write_packed"]
