"""What every kind of node is in C: a call of a shared function, or a loop. `KINDS` is the registry."""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections.abc import Callable, Iterable
from string import Template

import numpy as np

from wage_tf.export import bitpack
from wage_tf.export.c_memory import ALIGNMENT, Memory
from wage_tf.export.c_source import POOL, PRODUCT
from wage_tf.export.stages import Stage
from wage_tf.integer.linear import Window
from wage_tf.integer.nodes import (
    Activation,
    Add,
    AveragePool2D,
    Concatenate,
    Conv2D,
    Dense,
    Flatten,
    MaxPool2D,
    Node,
    Relu,
    Rescale,
    Reshape,
    ZeroPad2D,
)
from wage_tf.integer.tensors import Shape

_TYPES = {np.dtype(np.uint8): "pixel"} | {np.dtype(f"int{bits}"): f"code{bits}" for bits in (8, 16, 32)}


class Source:
    """The parts of `wage_net.c`, as they come together.

    Attributes:
        memory: Where every output lies.
        constants: Tables, weights, biases and steps.
        functions: Functions by name, one for every pair of element types that meet.
        calls: The body of `wage_infer`.
    """

    def __init__(self, memory: Memory):
        self.memory = memory
        self.constants: list[str] = []
        self.functions: dict[str, str] = {}
        self.calls: list[str] = []

    def type_of(self, name: str) -> str:
        """The C type of an output's elements."""
        return _TYPES[self.memory.dtypes[name]]

    def pointer(self, name: str) -> str:
        """A C expression for where an output begins."""
        place = self.memory.places[name]
        if place is None:
            return "image" if self.memory.dtypes[name] == np.uint8 else "scores"
        return f"({self.type_of(name)} *)(arena + {place.offset // ALIGNMENT})"

    def call(self, template: Template, kind: str, stage: Stage, step: str, **parts: str) -> None:
        """Appends a call of a shared function, which is defined if it is not yet there for these element types."""
        names = (*stage.inputs, stage.name)
        types = [self.type_of(name) for name in names]
        name = "_".join([kind, *types])
        self.functions[name] = template.substitute(parts, name=name, source=types[0], target=types[-1])
        places = ", ".join(self.pointer(name) for name in names)
        self.calls.append(f"    {name}(&{step}, {places}); /* {comment(stage.name)} */")

    def loop(self, stage: Stage, body: str) -> None:
        """Appends a block in which `in0`, `in1`, … are a stage's inputs and `out` is its output."""
        lines = [f"{self.type_of(stage.name)} *out = {self.pointer(stage.name)};", "int32_t i;"]
        for i, name in enumerate(stage.inputs):
            lines.insert(i, f"const {self.type_of(name)} *in{i} = {self.pointer(name)};")
        block = textwrap.indent("\n".join([*lines, body]), " " * 8)
        self.calls.append(f"    {{ /* {comment(stage.name)} */\n{block}\n    }}")


def _rescale(stage: Stage, source: Source) -> None:
    target, index = source.type_of(stage.name), len(source.constants)
    table = f"/* The code of every pixel value. */\nstatic const {target} table_{index}[256]"
    source.constants.append(f"{table} = {{\n{numbers(stage.node.codes.tolist())}\n}};")
    source.loop(stage, f"for (i = 0; i < {_size(stage)}; i++)\n    out[i] = table_{index}[in0[i]];")


def _product(stage: Stage, source: Source) -> None:
    node, index = stage.node, len(source.constants)
    codes = node.kernel.codes
    weights = weights_of(node)
    packed, width = bitpack.pack(weights, node.kernel.width), node.kernel.width
    name = comment(node.name)
    source.constants.append(
        f"/* {name}: {weights.size} codes of {width} bits */\n"
        f"static const uint8_t weights_{index}[] = {{\n{numbers(packed)}\n}};"
    )
    bias, scale = "NULL", 1 << (stage.sums.fraction - stage.sources[0].fraction - node.kernel.log2_scale)
    if node.bias is not None:
        bias, units = f"bias_{index}", node.bias.codes.astype(np.int64) << (stage.sums.fraction - node.bias.fraction)
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
    weighted = [f"weights_{index}", width, bias, scale, other, groups]
    source.call(PRODUCT, "product", stage, _step(stage, source, weighted, window, shapes, stage.pool), **parts)


def _max_pool(stage: Stage, source: Source) -> None:
    _pool(stage, source, "max_pool", start="INT32_MIN", combine="total = code > total ? code : total")


def _average_pool(stage: Stage, source: Source) -> None:
    _pool(stage, source, "sum_pool", start="0", combine="total += code")


def _pool(stage: Stage, source: Source, kind: str, **parts: str) -> None:
    shapes = stage.sources[0].shape, stage.signal.shape
    step = _step(stage, source, ["NULL", 0, "NULL", 1, 0, 1], stage.node.moving, shapes)
    source.call(POOL, kind, stage, step, **parts)


def _step(
    stage: Stage,
    source: Source,
    weighted: list[object],
    window: Window,
    shapes: tuple[Shape, Shape],
    pool: tuple[int, int] = (1, 1),
) -> str:
    """Defines the step of a window that moves over an image and returns its name."""
    name = f"step_{len(source.constants)}"
    pads = [before for before, _ in window.pads(shapes[0])]
    sizes = [*itertools.chain(*shapes), *window.size, *window.strides, *window.dilation, *pads, *pool]
    fields = [*weighted, *sizes, *_rounding(stage)]
    source.constants.append(f"static const struct step {name} = {{{', '.join(map(str, fields))}}};")
    return name


def _sum(stage: Stage, source: Source) -> None:
    """An Add, or of one input what rounds alone."""
    shifts = [stage.sums.fraction - x.fraction for x in stage.sources]
    terms = [f"in{i}[i]" + (f" * {1 << shift}" if shift else "") for i, shift in enumerate(shifts)]
    rounding = ", ".join(map(str, _rounding(stage)))
    value = f"({source.type_of(stage.name)})rounded({' + '.join(terms)}, {rounding})"
    source.loop(stage, f"for (i = 0; i < {_size(stage)}; i++)\n    out[i] = {value};")


def _concatenate(stage: Stage, source: Source) -> None:
    axis, shape = stage.node.axis, stage.signal.shape
    rows, total, offset, loops = math.prod(shape[:axis]), math.prod(shape[axis:]), 0, []
    for i, x in enumerate(stage.sources):
        span, scale = math.prod(x.shape[axis:]), 1 << (stage.signal.fraction - x.fraction)
        value = f"({source.type_of(stage.name)})(in{i}[i] * {scale})"
        loops.append(
            f"for (i = 0; i < {rows * span}; i++)\n    out[i / {span} * {total} + {offset} + i % {span}] = {value};"
        )
        offset += span
    source.loop(stage, "\n".join(loops))


def _zero_pad(stage: Stage, source: Source) -> None:
    (top, _), (left, _) = stage.node.rows, stage.node.columns
    (in_h, in_w, channels), (_, out_w, _) = stage.sources[0].shape, stage.signal.shape
    inside = f"y >= 0 && y < {in_h} && x >= 0 && x < {in_w * channels}"
    source.loop(
        stage,
        f"for (i = 0; i < {_size(stage)}; i++) {{\n"
        f"    const int32_t y = i / {out_w * channels} - {top}, x = i % {out_w * channels} - {left * channels};\n"
        f"    out[i] = ({source.type_of(stage.name)})({inside} ? in0[y * {in_w * channels} + x] : 0);\n}}",
    )


def _view(stage: Stage, source: Source) -> None:
    """Nothing: the same codes in the same place."""
    del stage, source


KINDS: dict[type[Node], Callable[[Stage, Source], None]] = {
    Rescale: _rescale,
    Conv2D: _product,
    Dense: _product,
    MaxPool2D: _max_pool,
    AveragePool2D: _average_pool,
    Add: _sum,
    Activation: _sum,
    Relu: _sum,
    Concatenate: _concatenate,
    ZeroPad2D: _zero_pad,
    Flatten: _view,
    Reshape: _view,
}
"""What every kind adds to the source."""


def weights_of(node: Conv2D | Dense) -> np.ndarray:
    """Weight codes in the order of the C code: [filters, h, w, channels / groups] or [units, inputs]."""
    codes = node.kernel.codes
    return np.ascontiguousarray(codes.T if isinstance(node, Dense) else codes.transpose(3, 0, 1, 2))


def numbers(values: Iterable[int]) -> str:
    """Indented lines of integers."""
    return textwrap.fill(", ".join(map(str, values)), 110, initial_indent="    ", subsequent_indent="    ")


def comment(text: str) -> str:
    """Text that cannot begin or end a comment, form a trigraph, or leave ASCII."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return re.sub(r"(?<=/)(?=\*)|(?<=\*)(?=/)|(?<=\?)(?=\?)", " ", plain)


def _size(stage: Stage) -> int:
    return math.prod(stage.signal.shape)


def _rounding(stage: Stage) -> list[int]:
    return [int(stage.rounding.relu), stage.rounding.shift, stage.rounding.limit]
