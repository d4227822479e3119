"""The nodes and tensors of the C runtime, as Python objects that `lowering` makes and `network` copies into C."""

from __future__ import annotations

import dataclasses

import numpy as np

from wage_tf.integer.nodes import Bias, Kernel
from wage_tf.integer.tensors import LARGEST_SUM
from wage_tf.native.arena import Buffer

Shape = tuple[int, int, int]


@dataclasses.dataclass(eq=False)
class Border:
    """Zeros around the images of a buffer: rows and columns before and after."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0

    def widen(self, top: int, left: int, bottom: int, right: int) -> None:
        """Takes the larger of each size and what is given."""
        self.top, self.left = max(self.top, top), max(self.left, left)
        self.bottom, self.right = max(self.bottom, bottom), max(self.right, right)


@dataclasses.dataclass(eq=False)
class Tensor:
    """What lies between two nodes. Tensors that are the same memory share `border` and `data`.

    Attributes:
        shape: Height, width, channels; 1, 1, n for vectors.
        fraction: Fraction bits.
        largest: Bound on the codes' size.
        signed: Whether codes can be negative.
        sums: Whether it holds sums, which have no border.
        gate: Masks of its producer, or None.
        error: Its error's sums, or None where no error is needed.
    """

    shape: Shape
    fraction: int
    largest: int
    signed: bool
    sums: bool
    border: Border = dataclasses.field(default_factory=Border)
    data: Buffer = dataclasses.field(default_factory=Buffer)
    gate: Buffer | None = None
    error: Buffer | None = None

    @property
    def size(self) -> int:
        """Elements of one image."""
        height, width, channels = self.shape
        return height * width * channels

    @property
    def rows(self) -> int:
        """Height with the border."""
        return self.border.top + self.shape[0] + self.border.bottom

    @property
    def columns(self) -> int:
        """Width with the border."""
        return self.border.left + self.shape[1] + self.border.right


@dataclasses.dataclass(eq=False)
class Node:
    """One row of the node table; the fields are those of `wage_node` in wage_net.h.

    Attributes:
        kind: "LINEAR", "ADD", ...
        names: The graph's nodes whose work it does, in order.
        error_most: Bound on the sum of errors of a FORK that the nodes before it hold, for the runtime to keep.
        inputs: Tensors.
        outputs: Tensors.
        layer: Fields of `wage_layer` that are not 0, batch and e_zero apart.
        parameter: Kernel of a LINEAR, bias of an ADD.
        errors: The errors' codes of a LINEAR.
        gradient: Sums of the parameter's gradient.
    """

    kind: str
    names: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    layer: dict[str, int] = dataclasses.field(default_factory=dict)
    shifts: tuple[int, ...] = ()
    parameter: tuple[str, Kernel | Bias] | None = None
    bias_shift: int = 0
    error_limit: int = 0
    error_fraction: int = 0
    error_most: int = LARGEST_SUM - 1
    table: np.ndarray | None = None
    errors: Tensor | None = None
    gradient: Buffer | None = None


@dataclasses.dataclass(eq=False)
class Program:
    """A network for the runtime.

    Attributes:
        nodes: In the order of the forward pass.
        tensors: All tensors that the nodes name.
        scores: The last one.
        by_name: The tensor that holds a graph node's output, where there is one of its own.
        wide: Whether codes are int16 and sums int64.
    """

    nodes: list[Node]
    tensors: list[Tensor]
    scores: Tensor
    by_name: dict[str, Tensor]
    wide: bool
