"""What every kind of node is in C: a call of a shared function, or a loop. `KINDS` is the registry."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from wage_tf.export import bitpack
from wage_tf.export.c_gates import BIAS, GATE, INFERENCE, POOL_GATE, TRAINING
from wage_tf.export.c_memory import Memory
from wage_tf.export.c_parts import Source, comment, filters_first, numbers
from wage_tf.export.c_products import (
    PACKED_FILTERS,
    POOL,
    PRODUCT,
    STORED_FILTERS,
    TERNARY,
    TERNARY_SUMS,
    UNPACK,
    UNPACK_STORED,
)
from wage_tf.export.stages import Stage
from wage_tf.export.translation import registry
from wage_tf.integer.arithmetic import quantize
from wage_tf.integer.linear import Window
from wage_tf.integer.nodes import Conv2D, Product
from wage_tf.integer.tensors import Shape


def _rescale(stage: Stage, source: Source) -> None:
    target, index = source.type_of(stage.name), len(source.constants)
    table = f"/* The code of every pixel value. */\nstatic const {target} table_{index}[256]"
    source.constants.append(f"{table} = {{\n{numbers(stage.node.codes.tolist())}\n}};")
    source.loop(stage, f"for (i = 0; i < {_size(stage, source)}; i++)\n    out[i] = table_{index}[in0[i]];")


def _product(stage: Stage, source: Source) -> None:
    node, codes = stage.node, stage.node.kernel.codes
    layer = source.layers.get(node.name)
    bias, scale = "NULL", 1 << stage.product_shift
    if node.bias is not None and layer is None:
        bias = f"bias_{len(source.constants)}"
        units = node.bias.codes.astype(np.int64) << (stage.sums.fraction - node.bias.fraction)
        source.constants.append(f"static const int32_t {bias}[] = {{\n{numbers(units.tolist())}\n}};")
    window, groups = Window((1, 1), (1, 1), "valid"), 1
    shapes: tuple[Shape, Shape] = ((1, 1, codes.shape[0]), (1, 1, codes.shape[1]))
    if isinstance(node, Conv2D):
        window, groups, shapes = node.window, node.groups, (stage.sources[0].shape, stage.signal.shape)
    other, parts = 0, {"parameter": "", "addition": ""}
    if len(stage.inputs) > 1:
        other = 1 << (stage.sums.fraction - stage.sources[1].fraction)
        parts = {"parameter": f", const {source.type_of(stage.inputs[1])} *addend"}
        parts["addition"] = " + addend[place] * step->other"
    parts |= INFERENCE if source.tail is None else TRAINING
    parts["bias"] = "(step->bias != NULL ? step->bias[filter] : 0)"
    if any(other.bias for other in source.layers.values()):
        source.functions["bias"] = BIAS
        parts["bias"] = "bias_of(network, step, filter)"
    stored = _stored(source)
    weights = "NULL" if layer else _weights(stage, source)
    if layer:
        shift = 0 if node.bias is None else stage.sums.fraction - node.bias.fraction
        stored = [layer.kernel.first, _code_table(node, source), layer.bias.first if layer.bias else -1, 1 << shift]
    weighted = [weights, node.kernel.width, bias, scale, other, groups]
    step = _step(stage, source, weighted, window, shapes, stage.pool, stored)
    if is_in_fours(stage, source.memory):
        source.functions["ternary"] = TERNARY_SUMS.substitute(pairs=numbers(map(_pair, range(16))))
        source.functions["filters"] = PACKED_FILTERS if source.tail is None else STORED_FILTERS
        function = source.function(TERNARY, "ternary", stage, **parts)
    else:
        source.functions["unpack"] = UNPACK.substitute(stored="" if source.tail is None else UNPACK_STORED)
        function = source.function(PRODUCT, "product", stage, **parts)
    _call(function, stage, source, step, "network, ")


def _stored(source: Source) -> list[object]:
    """The last fields of a step that has no stored weights; in training functions note gates."""
    if source.tail is None:
        return []
    source.functions["gate"] = GATE
    return [-1, "NULL", -1, 0]


def _call(function: str, stage: Stage, source: Source, step: str, before: str = "") -> None:
    if source.is_late(stage):
        source.batch_call(function, stage, step, before)
    else:
        source.call(function, stage, step, before, "" if source.tail is None else ", 1, NULL")


def is_in_fours(stage: Stage, memory: Memory) -> bool:
    """Whether a product's weights lie four filters to a byte: ternary ones, for codes of a byte."""
    node = stage.node
    return (
        node.kernel.width == 2
        and getattr(node, "groups", 1) == 1
        and memory.dtypes[stage.inputs[0]] == np.dtype(np.int8)
    )


def packed_weights(stage: Stage, memory: Memory) -> bytes:
    """A product's weights as they lie in flash."""
    weights = filters_first(stage.node.kernel.codes)
    if not is_in_fours(stage, memory):
        return bitpack.pack(weights, stage.node.kernel.width)
    rows = weights.reshape(len(weights), -1)
    fours = np.concatenate([rows, np.zeros((-len(rows) % 4, rows.shape[1]), rows.dtype)]).reshape(-1, 4, rows.shape[1])
    return bitpack.pack(fours.transpose(0, 2, 1), 2)


def _weights(stage: Stage, source: Source) -> str:
    """Defines a product's weights and returns their name."""
    node, name = stage.node, f"weights_{len(source.constants)}"
    packed = packed_weights(stage, source.memory)
    source.constants.append(
        f"/* {comment(node.name)}: {node.kernel.codes.size} codes of {node.kernel.width} bits */\n"
        f"static const uint8_t {name}[] = {{\n{numbers(packed)}\n}};"
    )
    return name


def _code_table(node: Product, source: Source) -> str:
    """Defines the codes of a layer's stored weights by their byte, two's complement, and returns their name."""
    stored = np.arange(256, dtype=np.uint8).astype(np.int8).astype(np.int32)
    codes = quantize(stored, node.kernel.fraction, node.kernel.width)
    text = f"[256] = {{\n{numbers(codes.tolist())}\n}};"
    for name, other in source.code_tables.items():
        if f"static const int8_t {other}{text}" in source.constants:
            source.code_tables[node.name] = source.code_tables[name]
            return source.code_tables[node.name]
    name = source.code_tables[node.name] = f"codes_{len(source.constants)}"
    source.constants.append(f"static const int8_t {name}{text}")
    return name


def _pair(bits: int) -> int:
    """What two codes of two bits are as the halves of a word."""
    low, high = ((bits >> shift & 3 ^ 2) - 2 for shift in (0, 2))
    return low + high * 65536


def _pool(stage: Stage, source: Source, kind: str, **parts: str) -> None:
    shapes = stage.sources[0].shape, stage.signal.shape
    step = _step(stage, source, ["NULL", 0, "NULL", 1, 0, 1], stage.node.moving, shapes, stored=_stored(source))
    parts |= INFERENCE if source.tail is None else TRAINING | {"keep": POOL_GATE}
    _call(source.function(POOL, kind, stage, **parts), stage, source, step)


def _step(
    stage: Stage,
    source: Source,
    weighted: list[object],
    window: Window,
    shapes: tuple[Shape, Shape],
    pool: tuple[int, int] = (1, 1),
    stored: Sequence[object] = (),
) -> str:
    """Defines the step of a window that moves over an image and returns its name."""
    name = f"step_{len(source.constants)}"
    pads = [before for before, _ in window.pads(shapes[0])]
    sizes = [*itertools.chain(*shapes), *window.size, *window.strides, *window.dilation, *pads, *pool]
    fields = [*weighted, *sizes, *_rounding(stage), *stored]
    source.constants.append(f"static const struct step {name} = {{{', '.join(map(str, fields))}}};")
    return name


def _sum(stage: Stage, source: Source) -> None:
    """An Add, or of one input what rounds alone."""
    shifts = [stage.sums.fraction - x.fraction for x in stage.sources]
    terms = [f"in{i}[i]" + (f" * {1 << shift}" if shift else "") for i, shift in enumerate(shifts)]
    rounding = ", ".join(map(str, _rounding(stage)))
    loop, target = f"for (i = 0; i < {_size(stage, source)}; i++)", source.type_of(stage.name)
    if not source.is_late(stage):
        source.loop(stage, f"{loop}\n    out[i] = ({target})rounded({' + '.join(terms)}, {rounding});")
        return
    source.functions["gate"] = GATE
    source.loop(
        stage,
        f"{loop} {{\n    const int32_t sum = {' + '.join(terms)};\n"
        f"    out[i] = ({target})rounded(sum, {rounding});\n"
        f"    if (gates != NULL)\n        gates[i] = gate(sum, {rounding});\n}}",
    )


def _concatenate(stage: Stage, source: Source) -> None:
    axis, shape = stage.node.axis, stage.signal.shape
    rows, total, offset, loops = math.prod(shape[:axis]), math.prod(shape[axis:]), 0, []
    count = "count * " if source.is_late(stage) else ""
    for i, x in enumerate(stage.sources):
        span, scale = math.prod(x.shape[axis:]), 1 << (stage.signal.fraction - x.fraction)
        value = f"({source.type_of(stage.name)})(in{i}[i] * {scale})"
        place = f"i / {span} * {total} + {offset} + i % {span}"
        loops.append(f"for (i = 0; i < {count}{rows * span}; i++)\n    out[{place}] = {value};")
        offset += span
    source.loop(stage, "\n".join(loops))


def _zero_pad(stage: Stage, source: Source) -> None:
    (top, _), (left, _) = stage.node.rows, stage.node.columns
    (in_h, in_w, channels), (out_h, out_w, _) = stage.sources[0].shape, stage.signal.shape
    inside, y = f"y >= 0 && y < {in_h} && x >= 0 && x < {in_w * channels}", f"i / {out_w * channels}"
    row = "y"
    if source.is_late(stage):
        row, y = f"(i / {_size(stage)} * {in_h} + y)", f"{y} % {out_h}"
    source.loop(
        stage,
        f"for (i = 0; i < {_size(stage, source)}; i++) {{\n"
        f"    const int32_t y = {y} - {top}, x = i % {out_w * channels} - {left * channels};\n"
        f"    out[i] = ({source.type_of(stage.name)})({inside} ? in0[{row} * {in_w * channels} + x] : 0);\n}}",
    )


def _view(stage: Stage, source: Source) -> None:
    """Nothing: the same codes in the same place."""


KINDS = registry(
    rescale=_rescale,
    product=_product,
    max_pool=partial(_pool, kind="max_pool", start="INT32_MIN", combine="total = code > total ? code : total"),
    average_pool=partial(_pool, kind="sum_pool", start="0", combine="total += code"),
    add=_sum,
    rounding=_sum,
    concatenate=_concatenate,
    zero_pad=_zero_pad,
    reshape=_view,
)
"""What every kind adds to the source."""


def _size(stage: Stage, source: Source | None = None) -> str:
    """Numbers of the output of one image, or of a batch where the source computes that at once."""
    size = math.prod(stage.signal.shape)
    return f"count * {size}" if source and source.is_late(stage) else str(size)


def _rounding(stage: Stage) -> list[int]:
    return [int(stage.rounding.relu), stage.rounding.shift, stage.rounding.limit]
