"""The first node: raw pixels to codes."""

from __future__ import annotations

import dataclasses

import numpy as np

from wage_tf.integer.arithmetic import fraction_bits, largest_code
from wage_tf.integer.nodes.base import Node, check_codes, check_width, require
from wage_tf.integer.tensors import Signal, Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Rescale(Node):
    """Raw uint8 pixels to activation codes on the k_A = `width` grid, by a table of 256 codes."""

    codes: np.ndarray
    width: int

    takes_pixels = True

    def signal(self, x: Signal) -> Signal:
        require(x.is_pixels, "a Rescale stands only at the input")
        check_width(self.width, 2)
        check_codes(self.codes, (256,), self.width)
        return Signal(x.shape, fraction_bits(self.width), largest_code(self.width))

    def forward(self, x: Tensor) -> Tensor:
        return Tensor(self.codes[x.codes], fraction_bits(self.width))
