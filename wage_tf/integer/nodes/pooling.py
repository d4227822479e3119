"""Pooling: the maximum of a window, and its average where the area is a power of two."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from wage_tf.integer import linear
from wage_tf.integer.arithmetic import code_dtype, magnitude
from wage_tf.integer.linear import Window
from wage_tf.integer.nodes.base import Node, check_image, check_window, require
from wage_tf.integer.tensors import LARGEST_SUM, Signal, Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Pool2D(Node):
    """A window that moves over the image, channel by channel."""

    window: tuple[int, int]
    strides: tuple[int, int]
    padding: str

    @property
    def moving(self) -> Window:
        """How the window moves over the image."""
        return Window(self.window, self.strides, self.padding)

    def error_bound(self, enough: int, e: Tensor, *inputs: Tensor) -> int:
        return self.moving.overlap * magnitude(e.codes)


@dataclasses.dataclass(frozen=True, eq=False)
class MaxPool2D(Pool2D):
    """Maximum over windows, padding never wins; backward to the first maximum of the window, row by row."""

    def signal(self, x: Signal) -> Signal:
        check_image(x.shape, "pooling")
        return Signal((*check_window(self.moving, x.shape), x.shape[2]), x.fraction, x.largest)

    def forward(self, x: Tensor) -> Tensor:
        return x.replace(linear.max_pool(x.codes, self.moving))

    def backward(self, e: Tensor, x: Tensor) -> tuple[Tensor]:
        return (e.replace(linear.max_pool_error(x.codes, e.codes, self.moving)),)


@dataclasses.dataclass(frozen=True, eq=False)
class AveragePool2D(Pool2D):
    """Average over windows of 2^n values without padding: their sum, with n more fraction bits.

    Backward: the error, with n more fraction bits, to every value of the window.
    """

    @property
    def area(self) -> int:
        """Values in a window."""
        return math.prod(self.window)

    @property
    def log2_area(self) -> int:
        """n."""
        return self.area.bit_length() - 1

    def signal(self, x: Signal) -> Signal:
        check_image(x.shape, "pooling")
        positions = check_window(self.moving, x.shape)
        require(self.area & (self.area - 1) == 0, f"an average takes 2^n values; received {self.window}")
        whole = self.moving.pads(x.shape) == ((0, 0), (0, 0))
        require(whole, f"an average takes whole windows; {self.window} needs padding around {x.shape}")
        require(x.largest * self.area < LARGEST_SUM, "its sums can pass 62 bits")
        return Signal((*positions, x.shape[2]), x.fraction + self.log2_area, x.largest * self.area)

    def forward(self, x: Tensor) -> Tensor:
        dtype = np.result_type(np.int32, code_dtype(magnitude(x.codes) * self.area))
        sums = linear.windows(x.codes, self.moving, fill=0).sum(axis=(-2, -1), dtype=dtype)
        return Tensor(sums, x.fraction + self.log2_area)

    def backward(self, e: Tensor, x: Tensor) -> tuple[Tensor]:
        parts = np.broadcast_to(e.codes[..., None, None], (*e.codes.shape, *self.window))
        return (Tensor(linear.scatter(parts, x.codes.shape, self.moving), e.fraction + self.log2_area),)

    def forward_bound(self, enough: int, *inputs: Tensor) -> int:
        return self.area * magnitude(inputs[0].codes)
