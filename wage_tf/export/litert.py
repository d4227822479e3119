"""The network as an int8 LiteRT model (`.tflite`), built node by node from the integer graph.

There is no converter and no calibration: every scale is the training's own power of two, so every requantization is a
shift. The model takes raw uint8 pixels and looks their codes up in the graph's table of 256, because a requantization
can say neither x/256 with ties to even nor the clip of −128 to −127. Codes are int8; sums that are not rounded where
they are made, those that meet in an Add, are float32, which holds integers to 2^24 exactly.

| stage                   | LiteRT                                                                                 |
| ----------------------- | -------------------------------------------------------------------------------------- |
| table of the pixels     | CAST to int32, GATHER                                                                  |
| product of codes, Q_A   | CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED with int8 output, ReLU fused             |
| last Dense, no Q_A      | BATCH_MATMUL with int32 output; MUL and ADD of a bias                                  |
| other product           | DEQUANTIZE of codes and int8 weights, the same operations in float32                   |
| Add, AveragePool2D      | DEQUANTIZE of codes, ADD, AVERAGE_POOL_2D in float32                                   |
| Activation, Relu        | RELU, QUANTIZE of float32; behind every Q_A MINIMUM and MAXIMUM where its clip         |
|                         | ±(2^(k−1)−1) is narrower than int8                                                     |
| MaxPool2D, Concatenate, | MAX_POOL_2D, CONCATENATION, PAD, RESHAPE of int8 codes or float32 sums                 |
| ZeroPad2D, Reshape      |                                                                                        |
| float32 scores          | MUL by 2^f, CAST to int32                                                              |

XNNPACK, the interpreter's default on CPUs, rounds half to even as the training does. LiteRT's own kernels round within
CONV_2D and its kind by a 32-bit multiplication and a shift, each of which rounds: x / 2^s becomes round(round(x / 2) /
2^(s−1)). Ties then go up or away from zero, sums one below a tie go with them, and scores differ. `litert_micro` writes
a form that is exact with both, and on microcontrollers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from wage_tf import files
from wage_tf.errors import UserError
from wage_tf.export.card import Card
from wage_tf.export.flatbuffer import ModelBuilder, read_metadata
from wage_tf.export.litert_kinds import KINDS
from wage_tf.export.litert_parts import scores
from wage_tf.export.stages import Stages, stages
from wage_tf.export.translation import translated
from wage_tf.integer.graph import Graph

METADATA = "wage_tf"
T = TypeVar("T")


def write_litert(path: str | os.PathLike, graph: Graph, card: Card) -> int:
    """Writes a `.tflite` file, whole or not at all.

    Its input "image" is uint8 [1, *graph.input_shape] (the first size may be changed by `resize_tensor_input`), its
    output "scores" the codes [1, outputs], int8 or int32, with their scale; the signature is "serving_default".

    Args:
        path: The file.
        graph: The network.
        card: Its metadata, which goes into the file as JSON under the name "wage_tf".

    Returns:
        Its size in bytes.

    Raises:
        UserError: If the graph has no such form, has widths above 8 bits or sums whose rounding
            cannot be done exactly; or if `ai-edge-litert` is missing.
    """
    return files.write_all({Path(path): to_bytes(stages(graph), card)})


def to_bytes(network: Stages, card: Card) -> bytes:
    """The content of a `.tflite` file."""
    model = ModelBuilder(f"{card.name}, {card.pattern}")
    image = model.tensor("image", np.uint8, (1, *network.input_shape))
    output = scores(model, translated(network, model, image, KINDS, "LiteRT"), network.stages[-1])
    return model.finish({"image": image}, {"scores": output}, {METADATA: json.dumps(card.as_dict())})


def read_card(path: str | os.PathLike) -> Card:
    """Reads the metadata of a `.tflite` file that `write_litert` or `write_litert_micro` wrote.

    Raises:
        UserError: If the file cannot be read, is damaged or has no such metadata; the message begins with the path.
    """
    return read_entry(path, METADATA, Card.from_dict)


def read_entry(path: str | os.PathLike, name: str, parse: Callable[[object], T]) -> T:
    """Reads one entry of a file's metadata, JSON from which `parse` makes a value; raises as `read_card`."""
    try:
        return parse(json.loads(read_metadata(Path(path).read_bytes(), name)))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except ValueError as error:
        raise UserError(f"{path}: its metadata is not JSON") from error
