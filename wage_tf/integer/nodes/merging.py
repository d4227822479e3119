"""Where branches meet: the sum of several outputs, and their concatenation."""

from __future__ import annotations

import dataclasses

import numpy as np

from wage_tf.integer.nodes.base import Node, is_int, require
from wage_tf.integer.tensors import LARGEST_SUM, Signal, Tensor, aligned, sum_bound, sum_of


@dataclasses.dataclass(frozen=True, eq=False)
class Add(Node):
    """The sum of its inputs, brought to the largest of their fractions; the error goes to all of them."""

    arity = None

    def signal(self, *inputs: Signal) -> Signal:
        shapes = {x.shape for x in inputs}
        require(len(shapes) == 1, f"a sum takes inputs of one shape; received {sorted(shapes)}")
        fraction = max(x.fraction for x in inputs)
        largest = sum(x.largest << (fraction - x.fraction) for x in inputs)
        require(largest < LARGEST_SUM, "its sums can pass 62 bits")
        return Signal(inputs[0].shape, fraction, largest)

    def forward(self, *inputs: Tensor) -> Tensor:
        return sum_of(inputs, max(x.fraction for x in inputs))

    def backward(self, e: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        return (e,) * len(inputs)

    def forward_bound(self, enough: int, *inputs: Tensor) -> int:
        return sum_bound(inputs, max(x.fraction for x in inputs))


@dataclasses.dataclass(frozen=True, eq=False)
class Concatenate(Node):
    """Its inputs one after the other along `axis` (0 the first after the batch), at the largest of their fractions.

    Backward: every input gets its part of the error.
    """

    axis: int

    arity = None

    def signal(self, *inputs: Signal) -> Signal:
        rank = len(inputs[0].shape)
        require(is_int(self.axis, 0, rank - 1), f"axis: one of the {rank} after the batch; received {self.axis!r}")
        others = {(*x.shape[: self.axis], *x.shape[self.axis + 1 :]) for x in inputs}
        fits = len(others) == 1 and all(len(x.shape) == rank for x in inputs)
        require(fits, f"inputs {[x.shape for x in inputs]} differ in more than axis {self.axis}")
        fraction = max(x.fraction for x in inputs)
        largest = max(x.largest << (fraction - x.fraction) for x in inputs)
        require(largest < LARGEST_SUM, "its codes can pass 62 bits")
        shape = list(inputs[0].shape)
        shape[self.axis] = sum(x.shape[self.axis] for x in inputs)
        return Signal(tuple(shape), fraction, largest)

    def forward(self, *inputs: Tensor) -> Tensor:
        fraction = max(x.fraction for x in inputs)
        return Tensor(np.concatenate(aligned(inputs, fraction), axis=self.axis + 1), fraction)

    def backward(self, e: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        ends = np.cumsum([x.codes.shape[self.axis + 1] for x in inputs])[:-1]
        return tuple(e.replace(part) for part in np.split(e.codes, ends, axis=self.axis + 1))
