"""The network as a LiteRT model (`.tflite`) whose scores do not depend on how a runtime's kernels round.

Made for LiteRT for Microcontrollers (TensorFlow Lite Micro), whose kernels have no CAST of uint8 and no int32 sums and
round x / 2^s twice; it is as exact in LiteRT, with XNNPACK and without. Nothing is rounded within a convolution: its
outputs are the sums themselves, int16, and float32 rounds them, half to even as IEEE 754 says.

| stage                   | LiteRT                                                                                 |
| ----------------------- | -------------------------------------------------------------------------------------- |
| table of the pixels     | none: the caller looks the codes up, int8 (`read_table`)                               |
| product of codes        | QUANTIZE of int8 to int16; CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED of int16 and  |
|                         | int8 weights with int16 output in units of the sums, ReLU fused; MAX_POOL_2D of these  |
| Q_A                     | DEQUANTIZE, ADD and SUB of 1.5·2^23 codes, QUANTIZE to int8, which clips; MINIMUM and  |
|                         | MAXIMUM where the clip ±(2^(k−1)−1) is narrower                                        |
| sums wider than 16 bits | the product again for other windows of 2^16 values, with the same weights; DEQUANTIZE, |
|                         | ADD (`litert_micro_kinds`)                                                             |
| AveragePool2D           | DEPTHWISE_CONV_2D with ones                                                            |
| Add, Concatenate        | ADD of int16 sums, or of float32 ones; CONCATENATION                                   |
| scores                  | int8 codes; or QUANTIZE of int16 sums to int32, or MUL and CAST of float32 ones        |

The price is memory: between a convolution and its Q_A a number takes up to eight bytes. C (`export.c`) needs less.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from wage_tf import files
from wage_tf.errors import UserError
from wage_tf.export.card import Card
from wage_tf.export.flatbuffer import ModelBuilder
from wage_tf.export.litert import METADATA, read_entry
from wage_tf.export.litert_micro_kinds import KINDS, scores
from wage_tf.export.litert_parts import WIDEST
from wage_tf.export.stages import Stage, Stages, fused, stages
from wage_tf.export.translation import translated
from wage_tf.integer.graph import IMAGES, Graph
from wage_tf.integer.nodes import Rescale

TABLE = "wage_tf_table"
_PIXELS = 256


def write_litert_micro(path: str | os.PathLike, graph: Graph, card: Card) -> int:
    """Writes a `.tflite` file, whole or not at all.

    Its input "codes" is int8 [1, *graph.input_shape], `litert_micro.read_table(path)[image]`; its output "scores" the
    codes [1, outputs], int8 or int32, with their scale; the signature is "serving_default".

    Args:
        path: The file.
        graph: The network.
        card: Its metadata, which goes into the file as JSON under the name "wage_tf".

    Returns:
        Its size in bytes.

    Raises:
        UserError: If the graph has no such form, has widths above 8 bits, changes the pixels before
            their table, or has sums that take too many windows; or if `ai-edge-litert` is missing.
    """
    return files.write_all({Path(path): to_bytes(fused(stages(graph)), card)})


def to_bytes(network: Stages, card: Card) -> bytes:
    """The content of a `.tflite` file, from stages that are `stages.fused`."""
    first = _table(network)
    model = ModelBuilder(f"{card.name}, {card.pattern}")
    codes = model.tensor("codes", np.int8, (1, *first.signal.shape), first.signal.fraction)
    output = scores(model, translated(network, model, codes, KINDS, "LiteRT Micro"), network.stages[-1])
    metadata = {METADATA: json.dumps(card.as_dict()), TABLE: json.dumps(first.node.codes.tolist())}
    return model.finish({"codes": codes}, {"scores": output}, metadata)


def _table(network: Stages) -> Stage:
    """The one stage that takes pixels, a table of int8 codes."""
    first, *others = (stage for stage in network.stages if IMAGES in stage.inputs)
    for stage in (first, *others):
        if stage is not first or not isinstance(stage.node, Rescale):
            raise UserError(f"LiteRT Micro export: {stage.node.name}: takes pixels, but their table is the caller's")
    if first.node.width > WIDEST:
        raise UserError(f"LiteRT Micro export: {first.node.name}: activations of more than 8 bits have no int8 form")
    return first


def read_table(path: str | os.PathLike) -> np.ndarray:
    """The code of every pixel value, int8 [256], of a file that `write_litert_micro` wrote.

    Raises:
        UserError: If the file cannot be read, is damaged or has no such table; the message begins with the path.
    """
    return read_entry(path, TABLE, _as_table)


def _as_table(values: object) -> np.ndarray:
    codes = range(-128, 128)
    if not isinstance(values, list) or len(values) != _PIXELS or any(code not in codes for code in values):
        raise UserError(f"the table has {_PIXELS} codes of int8")
    return np.array(values, np.int8)
