"""The nodes that round: Q_A with its mask, and Q_E."""

from __future__ import annotations

import dataclasses

import numpy as np

from wage_tf.integer.arithmetic import fraction_bits, largest_code, quantize, quantize_error, saturated
from wage_tf.integer.nodes.base import Node, check_width, require
from wage_tf.integer.tensors import LARGEST_SUM, Signal, Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Activation(Node):
    """ReLU where `relu`, then Q_A on `width` bits; backward also Q_E on `error_width` bits unless that is None.

    Backward: Q_A's mask, Q_E, ReLU's mask.
    """

    relu: bool
    width: int
    error_width: int | None

    def signal(self, x: Signal) -> Signal:
        check_width(self.width, 2)
        _check_error_width(self.error_width)
        require(isinstance(self.relu, bool), "relu is true or false")
        shift = x.fraction - fraction_bits(self.width)
        require(x.largest << max(0, -shift) < LARGEST_SUM, "its codes can pass 62 bits")
        return Signal(x.shape, fraction_bits(self.width), largest_code(self.width))

    def forward(self, x: Tensor) -> Tensor:
        return Tensor(quantize(self._activated(x.codes), x.fraction, self.width), fraction_bits(self.width))

    def backward(self, e: Tensor, x: Tensor) -> tuple[Tensor]:
        mask = saturated(self._activated(x.codes), x.fraction, self.width)
        kept = _quantized(e.replace(np.where(mask, 0, e.codes)), self.error_width)
        return (kept.replace(np.where(x.codes > 0, kept.codes, 0)) if self.relu else kept,)

    @property
    def quantizes_errors(self) -> bool:
        return self.error_width is not None

    def _activated(self, codes: np.ndarray) -> np.ndarray:
        return np.maximum(codes, 0) if self.relu else codes


@dataclasses.dataclass(frozen=True, eq=False)
class Relu(Node):
    """max(x, 0) alone; the error passes where x > 0."""

    def signal(self, x: Signal) -> Signal:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return x.replace(np.maximum(x.codes, 0))

    def backward(self, e: Tensor, x: Tensor) -> tuple[Tensor]:
        return (e.replace(np.where(x.codes > 0, e.codes, 0)),)


@dataclasses.dataclass(frozen=True, eq=False)
class Identity(Node):
    """What a layer of the kind `layer` is in inference, such as Dropout; it has no integer training."""

    layer: str

    takes_pixels = True

    def signal(self, x: Signal) -> Signal:
        require(isinstance(self.layer, str), f"layer is a name; received {self.layer!r}")
        return x

    def forward(self, x: Tensor) -> Tensor:
        return x


@dataclasses.dataclass(frozen=True, eq=False)
class Error(Node):
    """Q_E on `error_width` bits, backward only; None leaves the error as it is."""

    error_width: int | None

    def signal(self, x: Signal) -> Signal:
        _check_error_width(self.error_width)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return x

    def backward(self, e: Tensor, x: Tensor) -> tuple[Tensor]:
        return (_quantized(e, self.error_width),)

    @property
    def quantizes_errors(self) -> bool:
        return self.error_width is not None


def _quantized(e: Tensor, width: int | None) -> Tensor:
    if width is None:
        return e
    codes, log2_shift = quantize_error(e.codes, width)
    return Tensor(codes, e.fraction - log2_shift + fraction_bits(width))


def _check_error_width(width: int | None) -> None:
    if width is not None:
        check_width(width, 2)
