"""The network as an ONNX model of integer operators, built node by node from the integer graph.

Scores are those of the engine, code for code, in ONNX Runtime: ConvInteger and MatMulInteger sum in int32, and a sum
becomes a code by a product with a power of two and Round, which rounds half to even, in a float type that holds every
such sum exactly.

| stage                  | ONNX                                                                                    |
| ---------------------- | --------------------------------------------------------------------------------------- |
| table of the pixels    | Gather                                                                                  |
| product of codes       | ConvInteger, MatMulInteger; Add of a bias                                               |
| product of sums        | Conv, MatMul in float32, of sums up to 2^24                                             |
| Q_A                    | Relu where there is one, Cast, Mul, Round, Clip, Cast                                   |
| Add, AveragePool2D     | Mul by 2^n and Add of int32; AveragePool in float32 or float64, Mul by the area         |
| MaxPool2D, Concatenate | MaxPool, Concat, Pad, Reshape of codes or sums                                          |

Codes are uint8 around a zero point of 128, weights too: that pair of types has exact sums on every CPU, where int8
weights saturate pairs of products on those without VNNI. Images inside are [batch, channels, height, width].
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from wage_tf import files
from wage_tf.export.card import Card
from wage_tf.export.onnx_builder import ModelBuilder
from wage_tf.export.onnx_kinds import KINDS, scores
from wage_tf.export.stages import Stages, stages
from wage_tf.export.translation import translated
from wage_tf.integer.graph import Graph

METADATA = "wage_tf"


def write_onnx(path: str | os.PathLike, graph: Graph, card: Card) -> int:
    """Writes an `.onnx` file, whole or not at all.

    Its input "image" is uint8 [batch, *graph.input_shape], its output "scores" the scores' codes, int32
    [batch, outputs]; values are codes·2^(−f) with f the metadata's "fraction".

    Args:
        path: The file.
        graph: The network.
        card: Its metadata, which goes into the file as JSON under the name "wage_tf".

    Returns:
        Its size in bytes.

    Raises:
        UserError: If the graph has no such form, widths above 8 bits or a product of
            sums beyond 2^24; or if `onnx` is missing.
    """
    return files.write_all({Path(path): to_bytes(stages(graph), card)})


def to_bytes(network: Stages, card: Card) -> bytes:
    """The content of an `.onnx` file."""
    model = ModelBuilder()
    image = model.input("image", np.uint8, network.input_shape)
    last = network.stages[-1]
    output = scores(model, translated(network, model, image, KINDS, "ONNX"))
    metadata = {METADATA: json.dumps(card.as_dict()), "fraction": str(last.signal.fraction)}
    return model.finish(f"{card.name}, {card.pattern}", output, network.outputs, metadata)
