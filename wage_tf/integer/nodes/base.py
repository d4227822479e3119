"""What every node of the integer graph is, and the checks that nodes share."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from wage_tf.errors import UserError
from wage_tf.integer.arithmetic import code_dtype, largest_code, magnitude
from wage_tf.integer.linear import Window
from wage_tf.integer.tensors import Shape, Signal, Tensor

if TYPE_CHECKING:
    from wage_tf.integer.nodes.parameters import Bias, Kernel

WIDEST = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One operation of an integer graph.

    A kind of node is a subclass: its fields, `signal`, `forward`, `backward`, and what of the rest applies to it.

    Attributes:
        name: Its name, unique in the graph.
        inputs: Names of the nodes whose outputs it takes; `graph.IMAGES` is the graph's own input.
    """

    name: str
    inputs: tuple[str, ...]

    arity: ClassVar[int | None] = 1
    """Inputs that it takes; None for two or more."""

    takes_pixels: ClassVar[bool] = False
    """Whether it may stand before the Rescale, on raw pixels."""

    def signal(self, *inputs: Signal) -> Signal:
        """Checks the node against its inputs and returns what is known of its output.

        Raises:
            UserError: If the fields are wrong or do not fit the inputs.
        """
        raise NotImplementedError

    def forward(self, *inputs: Tensor) -> Tensor:
        """The output of the node for a batch of inputs."""
        raise NotImplementedError

    def backward(self, e: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The error of every input, from that of the output and the inputs of the forward pass."""
        raise NotImplementedError

    @property
    def parameters(self) -> dict[str, Kernel | Bias]:
        """The trainable arrays by the field that holds them."""
        return {}

    def gradients(self, e: Tensor, *inputs: Tensor) -> dict[str, Tensor]:
        """The gradient sums of every parameter, by field."""
        return {}

    @property
    def quantizes_errors(self) -> bool:
        """Whether Q_E acts on the errors that pass it."""
        return False

    def macs(self, *inputs: Signal) -> int:
        """Multiply-accumulates of one image, those on padding included."""
        return 0

    def forward_bound(self, enough: int, *inputs: Tensor) -> int | None:
        """Bound on Σ|terms| of the sums that `forward` makes, in units of its output; None where it adds nothing up.

        Args:
            enough: A bound below this may be a rough one.
            *inputs: What `forward` takes.
        """
        return None

    def error_bound(self, enough: int, e: Tensor, *inputs: Tensor) -> int | None:
        """The same for the sums that `backward` makes."""
        return None

    def gradient_bounds(self, e: Tensor, *inputs: Tensor) -> dict[str, int]:
        """The same for the sums that `gradients` makes, by parameter."""
        magnitudes = (Tensor(np.abs(x.codes), x.fraction) for x in (e, *inputs))
        return {field: magnitude(sums.codes) for field, sums in self.gradients(*magnitudes).items()}


def require(condition: bool, message: str) -> None:
    """Raises a UserError with the message unless the condition holds."""
    if not condition:
        raise UserError(message)


def is_int(value: object, smallest: int, largest: int) -> bool:
    """Whether a value is an integer in the range."""
    return isinstance(value, int) and not isinstance(value, bool) and smallest <= value <= largest


def check_width(width: int, smallest: int) -> None:
    """Requires a width of the integer graph."""
    require(is_int(width, smallest, WIDEST), f"widths are {smallest} to {WIDEST} bits; received {width!r}")


def check_codes(codes: np.ndarray, shape: Shape, width: int) -> None:
    """Requires codes of the given shape on the `width`-bit grid, in their own dtype."""
    largest = largest_code(width)
    require(codes.shape == shape, f"codes of shape {shape}; received {codes.shape}")
    require(codes.dtype == code_dtype(largest), f"{width}-bit codes are {code_dtype(largest)}; received {codes.dtype}")
    require(magnitude(codes) <= largest, f"{width}-bit codes lie in ±{largest}; received ±{magnitude(codes)}")
    require(width > 1 or bool(codes.all()), "binary codes are −1 and 1; received 0")


def check_image(shape: Shape, what: str) -> None:
    """Requires height, width and channels."""
    require(len(shape) == 3, f"a {what} takes images; received {shape}")


def check_window(window: Window, shape: Shape) -> tuple[int, int]:
    """Requires a window that fits an image and returns its positions."""
    require(window.padding in ("same", "valid"), f"padding is 'same' or 'valid'; received {window.padding!r}")
    for pair in (window.size, window.strides, window.dilation):
        require(len(pair) == 2 and all(is_int(size, 1, 2**15) for size in pair), f"two positive sizes, not {pair}")
    positions = window.positions(shape)
    require(min(positions) > 0, f"a window {tuple(window.size)} does not fit an input {shape}")
    return positions
