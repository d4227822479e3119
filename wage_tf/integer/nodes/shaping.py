"""Nodes that move codes and change none: reshaping and padding with zeros."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from wage_tf.integer.nodes.base import Node, check_image, is_int, require
from wage_tf.integer.tensors import Shape, Signal, Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Flatten(Node):
    """All axes but the batch into one."""

    takes_pixels = True

    def signal(self, x: Signal) -> Signal:
        return x.reshaped((math.prod(x.shape),))

    def forward(self, x: Tensor) -> Tensor:
        return x.replace(x.codes.reshape(len(x.codes), -1))

    def backward(self, e: Tensor, x: Tensor) -> tuple[Tensor]:
        return (e.replace(e.codes.reshape(x.codes.shape)),)


@dataclasses.dataclass(frozen=True, eq=False)
class Reshape(Node):
    """All axes but the batch into `shape`, in row-major order."""

    shape: Shape

    takes_pixels = True

    def signal(self, x: Signal) -> Signal:
        fits = all(is_int(size, 1, 2**31) for size in self.shape) and math.prod(self.shape) == math.prod(x.shape)
        require(fits, f"a shape {self.shape} does not fit an input {x.shape}")
        return x.reshaped(self.shape)

    def forward(self, x: Tensor) -> Tensor:
        return x.replace(x.codes.reshape(len(x.codes), *self.shape))

    def backward(self, e: Tensor, x: Tensor) -> tuple[Tensor]:
        return (e.replace(e.codes.reshape(x.codes.shape)),)


@dataclasses.dataclass(frozen=True, eq=False)
class ZeroPad2D(Node):
    """Zeros around an image: rows above and below, columns left and right."""

    rows: tuple[int, int]
    columns: tuple[int, int]

    takes_pixels = True

    def signal(self, x: Signal) -> Signal:
        check_image(x.shape, "padding")
        pads = (*self.rows, *self.columns)
        require(len(pads) == 4 and all(is_int(pad, 0, 2**15) for pad in pads), f"four sizes, not {pads}")
        height, width, channels = x.shape
        return x.reshaped((height + sum(self.rows), width + sum(self.columns), channels))

    def forward(self, x: Tensor) -> Tensor:
        return x.replace(np.pad(x.codes, ((0, 0), self.rows, self.columns, (0, 0))))

    def backward(self, e: Tensor, x: Tensor) -> tuple[Tensor]:
        height, width = x.codes.shape[1:3]
        top, left = self.rows[0], self.columns[0]
        return (e.replace(e.codes[:, top : top + height, left : left + width]),)
