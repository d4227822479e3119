"""Convolution and matrix product: sums of activation codes times weight codes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from wage_tf.integer import linear
from wage_tf.integer.arithmetic import code_dtype, largest_code, magnitude
from wage_tf.integer.linear import Window
from wage_tf.integer.nodes.base import Node, check_window, is_int, require
from wage_tf.integer.nodes.parameters import Bias, Kernel
from wage_tf.integer.tensors import LARGEST_SUM, Shape, Signal, Tensor, sum_of


@dataclasses.dataclass(frozen=True, eq=False)
class Product(Node):
    """A node with a kernel and perhaps a bias.

    Its sums have the fraction bits of its input and of its weights together; a bias is added at the larger of that
    fraction and its own.
    """

    kernel: Kernel
    bias: Bias | None

    def positions(self, shape: Shape) -> Shape:
        """Shape of the output without the units, for an input of the given shape, which it checks."""
        raise NotImplementedError

    def sums(self, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        """Codes of the input times these kernel codes, added up."""
        raise NotImplementedError

    def error_sums(self, e: np.ndarray, kernel: np.ndarray, shape: Shape) -> np.ndarray:
        """Codes of the error times these kernel codes, added up for an input of the given shape, batch included."""
        raise NotImplementedError

    def kernel_sums(self, e: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Codes of the input times codes of the error, added up over batch and positions, in the kernel's shape."""
        raise NotImplementedError

    def signal(self, *inputs: Signal) -> Signal:
        (x,) = inputs
        self.kernel.check()
        codes = self.kernel.codes
        shape = (*self.positions(x.shape), codes.shape[-1])
        if self.bias is not None:
            self.bias.check(codes.shape[-1:])
        fraction = self._fraction(x.fraction)
        require(0 <= fraction <= 62, f"its sums have {fraction} fraction bits; an integer graph takes 0 to 62")
        terms = math.prod(codes.shape[:-1])
        largest = self._with_bias_bound(x.largest * largest_code(self.kernel.width) * terms, x.fraction)
        require(largest < LARGEST_SUM, "its sums can pass 62 bits")
        return Signal(shape, fraction, largest)

    def forward(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        sums = Tensor(self.sums(x.codes, self.kernel.codes), x.fraction + self.kernel.log2_scale)
        return sums if self.bias is None else sum_of([sums, self.bias.tensor], self._fraction(x.fraction))

    def backward(self, e: Tensor, *inputs: Tensor) -> tuple[Tensor]:
        sums = self.error_sums(e.codes, self.kernel.codes, inputs[0].codes.shape)
        return (Tensor(sums, e.fraction + self.kernel.log2_scale),)

    @property
    def parameters(self) -> dict[str, Kernel | Bias]:
        return {"kernel": self.kernel} if self.bias is None else {"kernel": self.kernel, "bias": self.bias}

    def gradients(self, e: Tensor, *inputs: Tensor) -> dict[str, Tensor]:
        (x,) = inputs
        found = {}
        if self.kernel.variable is not None:
            found["kernel"] = Tensor(self.kernel_sums(e.codes, x.codes), e.fraction + x.fraction)
        if self.bias is not None and self.bias.variable is not None:
            largest = magnitude(e.codes) * math.prod(e.codes.shape[:-1])
            dtype = np.result_type(np.int32, code_dtype(largest))
            found["bias"] = e.replace(e.codes.sum(axis=tuple(range(e.codes.ndim - 1)), dtype=dtype))
        return found

    def macs(self, *inputs: Signal) -> int:
        return math.prod(self.positions(inputs[0].shape)) * self.kernel.codes.size

    def forward_bound(self, enough: int, *inputs: Tensor) -> int:
        (x,) = inputs
        bound = self._with_bias_bound(magnitude(x.codes) * _largest_sum(self.kernel.codes, axis=-1), x.fraction)
        if bound < enough:
            return bound
        return self._with_bias_bound(magnitude(self.sums(np.abs(x.codes), np.abs(self.kernel.codes))), x.fraction)

    def error_bound(self, enough: int, e: Tensor, *inputs: Tensor) -> int:
        bound = magnitude(e.codes) * self.error_gain
        if bound < enough:
            return bound
        return magnitude(self.error_sums(np.abs(e.codes), np.abs(self.kernel.codes), inputs[0].codes.shape))

    @property
    def error_gain(self) -> int:
        """The largest Σ|weight| over which an input's error is added up."""
        return _largest_sum(self.kernel.codes, axis=-2)

    def _fraction(self, fraction: int) -> int:
        sums = fraction + self.kernel.log2_scale
        return sums if self.bias is None else max(sums, self.bias.fraction)

    def _with_bias_bound(self, bound: int, fraction: int) -> int:
        """The bound on sums of an input of `fraction` once the bias is added."""
        if self.bias is None:
            return bound
        out = self._fraction(fraction)
        return (bound << (out - fraction - self.kernel.log2_scale)) + (self.bias.limit << (out - self.bias.fraction))


@dataclasses.dataclass(frozen=True, eq=False)
class Conv2D(Product):
    """Convolution; kernel codes are [h, w, channels/groups, filters].

    With as many groups as channels it is a depthwise convolution.
    """

    strides: tuple[int, int]
    padding: str
    dilation: tuple[int, int]
    groups: int

    @property
    def window(self) -> Window:
        """How the kernel moves over the image."""
        return Window(self.kernel.codes.shape[:2], self.strides, self.padding, self.dilation)

    def positions(self, shape: Shape) -> Shape:
        codes = self.kernel.codes
        require(is_int(self.groups, 1, 2**15), f"groups is a positive integer; received {self.groups!r}")
        fits = codes.ndim == 4 and len(shape) == 3 and codes.shape[2] * self.groups == shape[2]
        of_groups = f" in {self.groups} groups" if self.groups > 1 else ""
        require(
            fits and codes.shape[3] % self.groups == 0,
            f"a kernel {codes.shape}{of_groups} does not fit an input {shape}",
        )
        return check_window(self.window, shape)

    def sums(self, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        return linear.convolve(x, kernel, self.window, self.groups)

    def error_sums(self, e: np.ndarray, kernel: np.ndarray, shape: Shape) -> np.ndarray:
        return linear.convolve_error(e, kernel, shape, self.window, self.groups)

    def kernel_sums(self, e: np.ndarray, x: np.ndarray) -> np.ndarray:
        return linear.convolve_gradient(x, e, self.window, self.groups)

    @property
    def error_gain(self) -> int:
        return max(_largest_sum(part, axis=2) for part in np.split(self.kernel.codes, self.groups, axis=3))


@dataclasses.dataclass(frozen=True, eq=False)
class Dense(Product):
    """Matrix product; kernel codes are [inputs, units]."""

    def positions(self, shape: Shape) -> Shape:
        codes = self.kernel.codes
        fits = codes.ndim == 2 and len(shape) == 1 and codes.shape[0] == shape[0]
        require(fits, f"a kernel {codes.shape} does not fit an input {shape}")
        return ()

    def sums(self, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        return linear.product(x, kernel.T)

    def error_sums(self, e: np.ndarray, kernel: np.ndarray, shape: Shape) -> np.ndarray:
        return linear.product(e, kernel)

    def kernel_sums(self, e: np.ndarray, x: np.ndarray) -> np.ndarray:
        return linear.product(x.T, e.T)


def _largest_sum(weights: np.ndarray, axis: int) -> int:
    """The largest Σ|weight| over all axes but one."""
    others = tuple(i for i in range(weights.ndim) if i != axis % weights.ndim)
    return int(np.abs(weights.astype(np.int64)).sum(axis=others).max())
