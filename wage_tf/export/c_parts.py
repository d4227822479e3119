"""The parts of a generated C file, as they come together, and numbers and words as C text."""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from string import Template

import numpy as np

from wage_tf.export.c_memory import ALIGNMENT, Memory
from wage_tf.export.c_tail import TrainedLayer
from wage_tf.export.stages import Stage

_TYPES = {np.dtype(np.uint8): "pixel"} | {np.dtype(f"int{bits}"): f"code{bits}" for bits in (8, 16, 32)}


class Source:
    """The parts of `wage_net.c`, as they come together.

    Attributes:
        memory: Where every output lies.
        layers: The trained layers by name.
        constants: Tables, weights, biases and steps.
        code_tables: The names of the tables of stored weights' codes, by layer.
        functions: Functions by name, one for every pair of element types that meet.
        calls: The body of `wage_infer`; in training of what comes before the trained layers.
        batch_calls: In training the calls of the trained layers.
    """

    def __init__(self, memory: Memory, layers: Sequence[TrainedLayer] = ()):
        self.memory = memory
        self.layers = {layer.name: layer for layer in layers}
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

    def item_pointer(self, name: str, size: int) -> str:
        """The same for one image: of what is kept for a batch, the part of image n."""
        is_kept = self.layers and self.memory.places[name] is self.memory.places[self._first.stage.inputs[0]]
        return f"{self.pointer(name)} + n * {size}" if is_kept else self.pointer(name)

    @property
    def _first(self) -> TrainedLayer:
        return next(iter(self.layers.values()))

    def function(self, template: Template, kind: str, stage: Stage, **parts: str) -> str:
        """The name of a shared function, which is defined if it is not yet there for these element types."""
        types = [self.type_of(name) for name in (*stage.inputs, stage.name)]
        name = "_".join([kind, *types])
        self.functions[name] = template.substitute(parts, name=name, source=types[0], target=types[-1])
        return name

    def call(self, function: str, stage: Stage, step: str, before: str = "", after: str = "") -> None:
        """Appends a call."""
        sizes = [math.prod(signal.shape) for signal in (*stage.sources, stage.signal)]
        names = (*stage.inputs, stage.name)
        places = ", ".join(itertools.starmap(self.item_pointer, zip(names, sizes, strict=True)))
        self.calls.append(f"    {function}({before}&{step}, {places}{after}); /* {comment(stage.name)} */")

    def batch_call(self, function: str, stage: Stage, step: str) -> None:
        """Appends the call of a trained layer."""
        places = ", ".join(map(self.pointer, (*stage.inputs, stage.name)))
        gates = f"(uint8_t *)(arena + {self.memory.gates[stage.node.name].offset // ALIGNMENT})"
        after = f"count, training ? {gates} : NULL"
        self.batch_calls.append(f"    {function}(network, &{step}, {places}, {after}); /* {comment(stage.name)} */")

    def loop(self, stage: Stage, body: str) -> None:
        """Appends a block in which `in0`, `in1`, … are a stage's inputs and `out` is its output."""
        lines = [
            f"{self.type_of(stage.name)} *out = {self.item_pointer(stage.name, math.prod(stage.signal.shape))};",
            "int32_t i;",
        ]
        for i, (name, signal) in enumerate(zip(stage.inputs, stage.sources, strict=True)):
            place = self.item_pointer(name, math.prod(signal.shape))
            lines.insert(i, f"const {self.type_of(name)} *in{i} = {place};")
        block = textwrap.indent("\n".join([*lines, body]), " " * 8)
        self.calls.append(f"    {{ /* {comment(stage.name)} */\n{block}\n    }}")


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
