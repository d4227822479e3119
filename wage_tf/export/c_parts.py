"""The parts of a generated C file, as they come together, and numbers and words as C text."""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections.abc import Iterable
from string import Template

import numpy as np

from wage_tf.export.c_memory import ALIGNMENT, Memory
from wage_tf.export.c_tail import Layer, Tail
from wage_tf.export.stages import Stage

_TYPES = {np.dtype(np.uint8): "pixel"} | {np.dtype(f"int{bits}"): f"code{bits}" for bits in (8, 16, 32)}


class Source:
    """The parts of `wage_net.c`, as they come together.

    Attributes:
        memory: Where every output lies.
        tail: What is trained; None for inference alone.
        layers: The trained layers by name.
        constants: Tables, weights, biases and steps.
        code_tables: The names of the tables of stored weights' codes, by layer.
        functions: Functions by name, one for every pair of element types that meet.
        calls: The body of `wage_infer`; in training of what comes before the trained layers.
        batch_calls: In training the calls of these and of what comes after the first of them.
    """

    def __init__(self, memory: Memory, tail: Tail | None):
        self.memory = memory
        self.tail = tail
        self.layers: dict[str, Layer] = {} if tail is None else {layer.name: layer for layer in tail.trained}
        self._late = frozenset() if tail is None else tail.late
        self._gates = {} if tail is None else {errors.stage.name: errors for errors in tail.errors}
        self.constants: list[str] = []
        self.code_tables: dict[str, str] = {}
        self.functions: dict[str, str] = {}
        self.calls: list[str] = []
        self.batch_calls: list[str] = []

    def type_of(self, name: str) -> str:
        """The C type of an output's elements."""
        return _TYPES[self.memory.dtypes[name]]

    def pointer(self, name: str) -> str:
        """A C expression for where an output begins."""
        place = self.memory.places[name]
        if place is None:
            return "image" if self.memory.dtypes[name] == np.uint8 else "scores"
        return f"({self.type_of(name)} *)(arena + {place.offset // ALIGNMENT})"

    def is_late(self, stage: Stage) -> bool:
        """Whether a stage is computed for a whole batch."""
        return stage.name in self._late

    def item_pointer(self, name: str, size: int) -> str:
        """The same for one image: of what is kept for a batch, the part of image n."""
        return f"{self.pointer(name)} + n * {size}" if name in self.memory.batched else self.pointer(name)

    def gates(self, stage: Stage) -> str:
        """A C expression for where the gates of an output begin; NULL where its errors are not needed."""
        errors = self._gates.get(stage.name)
        if errors is None:
            return "NULL"
        return f"training ? (uint8_t *)(arena + {self.memory.gates[errors].offset // ALIGNMENT}) : NULL"

    def function(self, template: Template, kind: str, stage: Stage, **parts: str) -> str:
        """The name of a shared function, which is defined if it is not yet there for these element types."""
        types = [self.type_of(name) for name in (*stage.inputs, stage.name)]
        name = "_".join([kind, *types])
        self.functions[name] = template.substitute(parts, name=name, source=types[0], target=types[-1])
        return name

    def call(self, function: str, stage: Stage, step: str, before: str = "", after: str = "") -> None:
        """Appends a call for one image."""
        sizes = [math.prod(signal.shape) for signal in (*stage.sources, stage.signal)]
        names = (*stage.inputs, stage.name)
        places = ", ".join(itertools.starmap(self.item_pointer, zip(names, sizes, strict=True)))
        self.calls.append(f"    {function}({before}&{step}, {places}{after}); /* {comment(stage.name)} */")

    def batch_call(self, function: str, stage: Stage, step: str, before: str = "") -> None:
        """Appends a call for a batch."""
        places = ", ".join(map(self.pointer, (*stage.inputs, stage.name)))
        after = f"count, {self.gates(stage)}"
        self.batch_calls.append(f"    {function}({before}&{step}, {places}, {after}); /* {comment(stage.name)} */")

    def loop(self, stage: Stage, body: str) -> None:
        """Appends a block in which `in0`, `in1`, … are a stage's inputs, `out` is its output, `gates` its gates."""
        is_late, calls = self.is_late(stage), self.batch_calls if self.is_late(stage) else self.calls
        shapes = [signal.shape for signal in (*stage.sources, stage.signal)]
        places = [
            self.pointer(name) if is_late else self.item_pointer(name, math.prod(shape))
            for name, shape in zip((*stage.inputs, stage.name), shapes, strict=True)
        ]
        lines = [f"const {self.type_of(name)} *in{i} = {places[i]};" for i, name in enumerate(stage.inputs)]
        lines.append(f"{self.type_of(stage.name)} *out = {places[-1]};")
        if "gates" in body:
            lines.append(f"uint8_t *gates = {self.gates(stage)};")
        block = textwrap.indent("\n".join([*lines, "int32_t i;", body]), " " * 8)
        calls.append(f"    {{ /* {comment(stage.name)} */\n{block}\n    }}")


def filters_first(codes: np.ndarray) -> np.ndarray:
    """Numbers of a kernel in the order of the C code: [filters, h, w, channels / groups] or [units, inputs]."""
    return np.ascontiguousarray(np.moveaxis(codes, -1, 0))


def numbers(values: Iterable[int]) -> str:
    """Indented lines of integers."""
    return textwrap.fill(", ".join(map(str, values)), 110, initial_indent="    ", subsequent_indent="    ")


def comment(text: str) -> str:
    """Text that cannot begin or end a comment, form a trigraph, or leave ASCII."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return re.sub(r"(?<=/)(?=\*)|(?<=\*)(?=/)|(?<=\?)(?=\?)", " ", plain)
