"""A network as a chain of integer nodes: seven kinds, each a dataclass of NumPy integer arrays and Python integers.

| node       | forward                                         | backward                                             |
| ---------- | ----------------------------------------------- | ---------------------------------------------------- |
| Rescale    | codes[pixel], 256 entries                       | none: the first node                                 |
| Conv2D     | sums of activation codes times weight codes     | sums of error codes times weight codes; kernel sums  |
| Dense      | the same, a matrix product                      | the same                                             |
| MaxPool2D  | maximum                                         | to the first maximum of the window                   |
| Flatten    | [b, h, w, c] to [b, h·w·c]                      | back                                                 |
| Activation | max(x, 0) if `relu`; shift, round, clip (Q_A)   | mask of the clip; Q_E where it has one; ReLU's mask  |
| Error      | identity                                        | Q_E                                                  |

Every tensor between nodes is an array of integer codes with a fixed number f of fraction bits, values code·2^(−f).
A kernel adds its own to those of its input: k_W − 1 of the grid and log2 α of the layer's constant, since
W_q = code·2^(1−k_W)/α. An Activation rounds them off to k_A − 1. Nothing else carries a scale.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from wage_tf.errors import UserError
from wage_tf.integer import linear
from wage_tf.integer.arithmetic import code_dtype, fraction_bits, largest_code, magnitude, quantize

Shape = tuple[int, ...]
_LARGEST_SUM = 2**62
_WIDEST = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """The weights of a Conv2D or Dense.

    Attributes:
        codes: Q(W, k_W) as integers in [−(2^(k_W−1)−1), 2^(k_W−1)−1], ±1 for k_W = 1; int8 or int16, units last.
        width: k_W.
        alpha: log2 of the layer's constant α.
        gradient_width: k_G, or None where the gradient is float32 (no integer training).
        accumulators: The stored weights W in units of 2^(−fraction), shape of `codes`; None in a model that is
            for inference only.
        fraction: Fraction bits of the accumulators, at least k_G − 1 and k_W − 1.
        limit: The clip after an update, in the accumulators' units.
        variable: Index of the kernel among the optimizer's variables, part of the random numbers' seed; None where
            the layer is frozen, so that training leaves it as it is.
    """

    codes: np.ndarray
    width: int
    alpha: int
    gradient_width: int | None
    accumulators: np.ndarray | None
    fraction: int
    limit: int
    variable: int | None


@dataclasses.dataclass(frozen=True, eq=False)
class Rescale:
    """Raw uint8 pixels to activation codes on the k_A = `width` grid, by a table of 256 codes."""

    name: str
    codes: np.ndarray
    width: int


@dataclasses.dataclass(frozen=True, eq=False)
class Conv2D:
    """Convolution; `padding` is "same" or "valid"; kernel codes are [h, w, channels, filters]."""

    name: str
    kernel: Kernel
    strides: tuple[int, int]
    padding: str


@dataclasses.dataclass(frozen=True, eq=False)
class Dense:
    """Matrix product; kernel codes are [inputs, units]."""

    name: str
    kernel: Kernel


@dataclasses.dataclass(frozen=True, eq=False)
class MaxPool2D:
    """Maximum over windows; `padding` is "same" or "valid"."""

    name: str
    window: tuple[int, int]
    strides: tuple[int, int]
    padding: str


@dataclasses.dataclass(frozen=True, eq=False)
class Flatten:
    """All axes but the batch into one."""

    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class Activation:
    """ReLU where `relu`, then Q_A on `width` bits; backward also Q_E on `error_width` bits unless that is None."""

    name: str
    relu: bool
    width: int
    error_width: int | None


@dataclasses.dataclass(frozen=True, eq=False)
class Error:
    """Q_E on `error_width` bits, backward only; None leaves the error as it is."""

    name: str
    error_width: int | None


Node = Rescale | Conv2D | Dense | MaxPool2D | Flatten | Activation | Error


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """A chain of nodes from raw uint8 images to the integer codes of the scores.

    Args:
        input_shape: Height, width and channels of the images.
        nodes: The chain; a Rescale is first.

    Attributes:
        shapes: Output shape of every node, without the batch.
        fractions: Fraction bits of every node's output.
        largest: Bound on the magnitude of every node's output codes.

    Raises:
        UserError: If shapes, widths, codes or names do not fit together; the message names the node.
    """

    input_shape: Shape
    nodes: tuple[Node, ...]
    shapes: tuple[Shape, ...] = dataclasses.field(init=False)
    fractions: tuple[int, ...] = dataclasses.field(init=False)
    largest: tuple[int, ...] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        if len(self.input_shape) != 3 or not all(_is_int(size, 1, 2**15) for size in self.input_shape):
            raise UserError(f"integer graph: images are [height, width, channels]; received {self.input_shape}")
        if not self.nodes or not isinstance(self.nodes[0], Rescale):
            raise UserError("integer graph: the first node is a Rescale, which turns raw pixels into codes")
        names = [node.name for node in self.nodes]
        if len(set(names)) < len(names):
            raise UserError(f"integer graph: every node has a name of its own; received {names}")
        shapes, fractions, largest = [], [], []
        shape, fraction, bound = tuple(self.input_shape), 0, 255
        for place, node in enumerate(self.nodes):
            try:
                shape, fraction, bound = _propagate(node, place, shape, fraction, bound)
            except UserError as error:
                raise UserError(f"integer graph: {node.name}: {error}") from None
            shapes.append(shape)
            fractions.append(fraction)
            largest.append(bound)
        for field, values in (("shapes", shapes), ("fractions", fractions), ("largest", largest)):
            object.__setattr__(self, field, tuple(values))

    @property
    def kernels(self) -> dict[str, Kernel]:
        """The kernels by their node's name, in order."""
        return {node.name: node.kernel for node in self.nodes if isinstance(node, Conv2D | Dense)}

    def with_kernels(self, kernels: dict[str, Kernel]) -> Graph:
        """Returns the graph with some kernels replaced."""
        nodes = (
            dataclasses.replace(node, kernel=kernels[node.name]) if node.name in kernels else node
            for node in self.nodes
        )
        return Graph(self.input_shape, tuple(nodes))


def float_operands(graph: Graph) -> list[str]:
    """What keeps a graph's training from being integer arithmetic: one line per kernel, empty where nothing does.

    A kernel needs a gradient width unless it is frozen, and between it and the next kernel (or the loss) a node that
    quantizes errors.
    """
    lines = []
    quantized = False
    for node in reversed(graph.nodes):
        if isinstance(node, Activation | Error):
            quantized = quantized or node.error_width is not None
        elif isinstance(node, Conv2D | Dense):
            if not quantized:
                lines.append(f"{node.name}: the errors that reach it are float32 (k_E = f)")
            if node.kernel.gradient_width is None and node.kernel.variable is not None:
                lines.append(f"{node.name}: its weight gradient is float32 (k_G = f)")
            quantized = False
    return lines[::-1]


def _propagate(node: Node, place: int, shape: Shape, fraction: int, bound: int) -> tuple[Shape, int, int]:
    """Checks one node and returns shape, fraction bits and largest magnitude of its output."""
    match node:
        case Rescale():
            _require(place == 0, "a Rescale stands only at the input")
            _check_width(node.width, 2)
            _check_codes(node.codes, (256,), node.width)
            return shape, fraction_bits(node.width), largest_code(node.width)
        case Conv2D() | Dense():
            _check_kernel(node.kernel)
            codes = node.kernel.codes
            if isinstance(node, Conv2D):
                _require(codes.ndim == 4 and len(shape) == 3, f"a kernel {codes.shape} does not fit an input {shape}")
                out = (*_positions(shape, codes.shape[:2], node.strides, node.padding), codes.shape[3])
            else:
                _require(codes.ndim == 2 and len(shape) == 1, f"a kernel {codes.shape} does not fit an input {shape}")
                out = (codes.shape[1],)
            _require(codes.shape[-2] == shape[-1], f"a kernel {codes.shape} does not fit an input {shape}")
            fraction += fraction_bits(node.kernel.width) + node.kernel.alpha
            bound *= largest_code(node.kernel.width) * math.prod(codes.shape[:-1])
            _require(0 <= fraction <= 62, f"its sums have {fraction} fraction bits; an integer graph takes 0 to 62")
            _require(bound < _LARGEST_SUM, "its sums can pass 62 bits")
            return out, fraction, bound
        case MaxPool2D():
            _require(len(shape) == 3, f"a pooling takes images; received {shape}")
            return (*_positions(shape, node.window, node.strides, node.padding), shape[2]), fraction, bound
        case Flatten():
            return (math.prod(shape),), fraction, bound
        case Activation():
            _check_width(node.width, 2)
            _check_error_width(node.error_width)
            _require(isinstance(node.relu, bool), "relu is true or false")
            shift = fraction - fraction_bits(node.width)
            _require(bound << max(0, -shift) < _LARGEST_SUM, "its codes can pass 62 bits")
            return shape, fraction_bits(node.width), largest_code(node.width)
        case Error():
            _check_error_width(node.error_width)
            return shape, fraction, bound
        case _:
            raise UserError(f"{type(node).__name__} is not a node of the integer graph")


def _positions(shape: Shape, window: tuple[int, ...], strides: tuple[int, ...], padding: str) -> Shape:
    _require(padding in ("same", "valid"), f"padding is 'same' or 'valid'; received {padding!r}")
    for pair in (window, strides):
        _require(len(pair) == 2 and all(_is_int(size, 1, 2**15) for size in pair), f"two positive sizes, not {pair}")
    sizes = tuple(linear.output_size(*axis, padding) for axis in zip(shape[:2], window, strides, strict=True))
    _require(min(sizes) > 0, f"a window {tuple(window)} does not fit an input {shape}")
    return sizes


def _check_kernel(kernel: Kernel) -> None:
    _check_width(kernel.width, 1)
    _require(_is_int(kernel.alpha, -62, 62), f"log2 alpha is an integer; received {kernel.alpha!r}")
    if kernel.variable is not None:
        _require(_is_int(kernel.variable, 0, 2**32 - 1), f"variable is an index; received {kernel.variable!r}")
    _check_codes(kernel.codes, kernel.codes.shape, kernel.width)
    _require(kernel.codes.size > 0, "a kernel has at least one weight")
    if kernel.gradient_width is not None:
        _check_width(kernel.gradient_width, 2)
    if kernel.accumulators is None:
        return
    _require(_is_int(kernel.fraction, fraction_bits(kernel.gradient_width or 1), 30), "fraction bits out of range")
    _require(_is_int(kernel.limit, 1, 2**31 - 1), f"the clip is a positive integer; received {kernel.limit!r}")
    _require(kernel.accumulators.shape == kernel.codes.shape, "accumulators and codes differ in shape")
    _require(magnitude(kernel.accumulators) <= kernel.limit, "accumulators beyond their clip")
    codes = quantize(kernel.accumulators, kernel.fraction, kernel.width)
    _require(bool((codes == kernel.codes).all()), "the codes are not the accumulators' quantized values")


def _check_codes(codes: np.ndarray, shape: Shape, width: int) -> None:
    largest = largest_code(width)
    _require(codes.shape == shape, f"codes of shape {shape}; received {codes.shape}")
    _require(codes.dtype == code_dtype(largest), f"{width}-bit codes are {code_dtype(largest)}; received {codes.dtype}")
    _require(magnitude(codes) <= largest, f"{width}-bit codes lie in ±{largest}; received ±{magnitude(codes)}")
    _require(width > 1 or bool((codes != 0).all()), "binary codes are −1 and 1; received 0")


def _check_width(width: int, smallest: int) -> None:
    _require(_is_int(width, smallest, _WIDEST), f"widths are {smallest} to {_WIDEST} bits; received {width!r}")


def _check_error_width(width: int | None) -> None:
    if width is not None:
        _check_width(width, 2)


def _is_int(value: object, smallest: int, largest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and smallest <= value <= largest


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)
