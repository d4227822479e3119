"""The network as an int8 LiteRT model (`.tflite`), built node by node from the integer graph.

There is no converter and no calibration: every scale is the training's own power of two, so every requantization is a
shift. The model takes raw uint8 pixels and looks their codes up in the graph's table of 256, because a requantization
can say neither x/256 with ties to even nor the clip of −128 to −127.

| stage                  | LiteRT                                                                                  |
| ---------------------- | --------------------------------------------------------------------------------------- |
| table of the pixels    | CAST to int32, GATHER                                                                   |
| product with Q_A       | CONV_2D or FULLY_CONNECTED with int8 output, ReLU fused; then MINIMUM and MAXIMUM where |
|                        | the clip ±(2^(k−1)−1) is narrower than int8                                             |
| last product, no Q_A   | BATCH_MATMUL with int32 output                                                          |
| pooling                | MAX_POOL_2D                                                                             |

XNNPACK, the interpreter's default on CPUs, rounds half to even as the training does. LiteRT's own reference kernels
round ties away from zero; with them (`OpResolverType.BUILTIN_REF`) codes can differ by one.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np

from wage_tf import files
from wage_tf.errors import UserError
from wage_tf.export.card import Card
from wage_tf.export.flatbuffer import ModelBuilder, read_metadata
from wage_tf.export.stages import Pool, Product, Requantization, Stages, stages
from wage_tf.integer.arithmetic import fraction_bits
from wage_tf.integer.graph import Graph

METADATA = "wage_tf"
_WIDEST = 8
_INT8 = 127
_EXACT_IN_FLOAT32 = 2**24


def write_litert(path: str | os.PathLike, graph: Graph, card: Card) -> int:
    """Writes a `.tflite` file, whole or not at all.

    Its input is uint8 [1, height, width, channels] (the first size may be changed by `resize_tensor_input`), its
    output the scores' codes [1, outputs], int8 or int32, with their scale.

    Args:
        path: The file.
        graph: The network.
        card: Its metadata, which goes into the file as JSON under the name "wage_tf".

    Returns:
        Its size in bytes.

    Raises:
        UserError: If the graph has no such form (`stages.stages`), has widths above 8 bits, sums whose rounding
            XNNPACK cannot do exactly, or ends with a convolution; or if `ai-edge-litert` is missing.
    """
    content = to_bytes(stages(graph), card)
    files.write_all({Path(path): content})
    return len(content)


def to_bytes(network: Stages, card: Card) -> bytes:
    """The content of a `.tflite` file."""
    _check(network)
    model = ModelBuilder(f"{card.name}, {card.pattern}, integers only")
    image = model.tensor("image", np.uint8, (1, *network.input_shape))
    x = _pixels(model, network, image)
    fraction = fraction_bits(network.table_width)
    for step in network.steps:
        if isinstance(step, Pool):
            x = model.max_pool(x, step, fraction)
            continue
        if step.dense and len(model.shape(x)) != 2:
            x = model.reshape(x, (1, math.prod(step.shape_in)), fraction)
        x = _product(model, x, step)
        fraction = _fraction_out(step)
    if len(model.shape(x)) != 2:
        x = model.reshape(x, (1, network.outputs), fraction)
    return model.finish([image], [x], {METADATA: json.dumps(card.as_dict())})


def _check(network: Stages) -> None:
    if network.widest > _WIDEST:
        raise UserError("LiteRT export: activations of more than 8 bits have no int8 form")
    for product in network.products:
        if product.kernel.width > _WIDEST:
            raise UserError(f"LiteRT export: {product.name}: weights of more than 8 bits have no int8 form")
        rounding = product.requantization
        if rounding is None and not product.dense:
            raise UserError(f"LiteRT export: {product.name}: a convolution at the end needs a QActivation after it")
        if rounding is not None:
            _check_rounding(product, rounding)


def _check_rounding(product: Product, rounding: Requantization) -> None:
    """XNNPACK rounds sums in float32: exact below 2^24, and beyond where they are clipped anyway."""
    inexact = product.largest_sum > _EXACT_IN_FLOAT32 and _EXACT_IN_FLOAT32 >> max(rounding.shift, 0) <= rounding.limit
    if inexact or not -8 < rounding.shift <= 32:
        raise UserError(f"LiteRT export: {product.name}: its sums are too wide to be rounded exactly")


def _pixels(model: ModelBuilder, network: Stages, image: int) -> int:
    indices = model.cast(image, np.int32)
    table = model.constant("table", network.table, fraction_bits(network.table_width))
    return model.gather(table, indices, fraction_bits(network.table_width))


def _product(model: ModelBuilder, x: int, product: Product) -> int:
    weight_fraction = fraction_bits(product.kernel.width) + product.kernel.alpha
    rounding = product.requantization
    if rounding is None:
        weights = model.constant(f"{product.name}/weights", product.weights[:, 0, 0].T, weight_fraction)
        return model.matrix_product(product.name, x, weights, product.fraction)
    codes = product.weights[:, 0, 0] if product.dense else product.weights
    weights = model.constant(f"{product.name}/weights", codes, weight_fraction)
    zeros = np.zeros(len(codes), np.int32)
    bias = model.constant(f"{product.name}/bias", zeros, product.fraction)
    fraction = fraction_bits(rounding.width)
    if product.dense:
        x = model.fully_connected(product.name, x, weights, bias, rounding.relu, fraction)
    else:
        x = model.convolution(product, x, weights, bias, rounding.relu, fraction)
    if rounding.limit < _INT8:
        x = model.bound("minimum", x, rounding.limit, fraction)
    return x if rounding.relu else model.bound("maximum", x, -rounding.limit, fraction)


def _fraction_out(product: Product) -> int:
    rounding = product.requantization
    return product.fraction if rounding is None else fraction_bits(rounding.width)


def read_card(path: str | os.PathLike) -> Card:
    """Reads the metadata of a `.tflite` file that `write_litert` wrote.

    Raises:
        UserError: If the file cannot be read, is damaged or has no such metadata; the message begins with the path.
    """
    try:
        return Card.from_dict(json.loads(read_metadata(Path(path).read_bytes(), METADATA)))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except ValueError as error:
        raise UserError(f"{path}: its metadata is not JSON") from error
