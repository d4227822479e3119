"""An integer graph as the stages of inference: what C and LiteRT run.

Rounding, clipping and ReLU are monotonic, so they commute with max pooling and flattening. An Activation therefore
moves to its kernel: sums turn into narrow codes at once, and no buffer of wide sums is needed.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from wage_tf.errors import UserError
from wage_tf.integer import linear
from wage_tf.integer.arithmetic import fraction_bits, largest_code
from wage_tf.integer.graph import IMAGES, Graph
from wage_tf.integer.nodes import Activation, Conv2D, Dense, Error, Flatten, Kernel, MaxPool2D, Rescale
from wage_tf.integer.tensors import Shape

_INT32 = 2**31 - 1


@dataclasses.dataclass(frozen=True, eq=False)
class Requantization:
    """Sums to codes: max(x, 0) where `relu`, then x / 2^`shift` rounded half to even and clipped to ±`limit`."""

    relu: bool
    shift: int
    limit: int
    width: int


@dataclasses.dataclass(frozen=True, eq=False)
class Product:
    """A convolution, or a matrix product as the 1×1 convolution of a 1×1 image.

    Attributes:
        name: Name of the node.
        kernel: Its weights; `weights` are their codes as [filters, h, w, channels].
        weights: See `kernel`.
        dense: Whether it was a Dense.
        shape_in: Height, width, channels.
        shape_out: Height, width, filters.
        strides: Rows and columns.
        padding: "same" or "valid".
        fraction: Fraction bits of its sums.
        largest_sum: Bound on their magnitude: the largest input code times the largest Σ|weight| of a filter.
        requantization: None for the last product where no Activation follows: its int32 sums are the scores.
    """

    name: str
    kernel: Kernel
    weights: np.ndarray
    dense: bool
    shape_in: Shape
    shape_out: Shape
    strides: tuple[int, int]
    padding: str
    fraction: int
    largest_sum: int
    requantization: Requantization | None

    @property
    def pads(self) -> tuple[int, int]:
        """Rows above and columns to the left of the image."""
        return _pads_before(self.shape_in, self.weights.shape[1:3], self.strides, self.padding)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image, those on padding included."""
        return math.prod(self.shape_out) * self.weights[0].size


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """Max pooling of codes."""

    name: str
    window: tuple[int, int]
    shape_in: Shape
    shape_out: Shape
    strides: tuple[int, int]
    padding: str

    @property
    def pads(self) -> tuple[int, int]:
        """Rows above and columns to the left of the image."""
        return _pads_before(self.shape_in, self.window, self.strides, self.padding)


@dataclasses.dataclass(frozen=True, eq=False)
class Stages:
    """The table of the pixels' codes, then products and poolings.

    Attributes:
        input_shape: Height, width and channels of the images.
        table: 256 codes.
        table_width: Their bits.
        steps: Products and poolings in order.
        outputs: Number of scores.
        fraction: Fraction bits of the scores.
    """

    input_shape: Shape
    table: np.ndarray
    table_width: int
    steps: tuple[Product | Pool, ...]
    outputs: int
    fraction: int

    @property
    def products(self) -> list[Product]:
        """The stages with weights."""
        return [step for step in self.steps if isinstance(step, Product)]

    @property
    def widest(self) -> int:
        """Bits of the widest activation codes."""
        widths = [p.requantization.width for p in self.products if p.requantization is not None]
        return max([self.table_width, *widths])


def stages(graph: Graph) -> Stages:
    """Brings a graph into stages.

    Raises:
        UserError: If sums can pass 32 bits, or the nodes stand in an order that has no such form: an Activation that
            no kernel precedes, a kernel on the sums of another, branches; the message names the node. Or if there is
            no kernel.
    """
    _check_chain(graph)
    steps: list[Product | Pool] = []
    shape, fraction, open_product = graph.input_shape, 0, None
    for node in graph.nodes:
        (entering,) = graph.inputs_of(node)
        shape_in, shape = shape, graph.signals[node.name].shape
        match node:
            case Rescale() | Flatten() | Error():
                pass
            case Conv2D() | Dense():
                if open_product is not None:
                    raise UserError(
                        f"export: {node.name} takes the sums of {steps[open_product].name}: put a QActivation between"
                    )
                open_product = len(steps)
                product = _product(node, shape_in, shape, graph.signals[node.name].fraction, entering.largest)
                if product.largest_sum > _INT32:
                    raise UserError(f"export: the sums of {node.name} can pass 32 bits")
                steps.append(product)
            case MaxPool2D():
                steps.append(Pool(node.name, node.window, shape_in, shape, node.strides, node.padding))
            case Activation():
                if open_product is None:
                    raise UserError(f"export: no QConv2D or QDense stands before the activation {node.name}")
                requantization = Requantization(
                    node.relu, fraction - fraction_bits(node.width), largest_code(node.width), node.width
                )
                steps[open_product] = dataclasses.replace(steps[open_product], requantization=requantization)
                open_product = None
            case _:
                raise UserError(f"export: {node.name}: {type(node).__name__} has no such form")
        fraction = graph.signals[node.name].fraction
    if not any(isinstance(step, Product) for step in steps):
        raise UserError("export: the network has no QConv2D or QDense")
    if open_product is not None and open_product != len(steps) - 1:
        raise UserError(f"export: {graph.nodes[-1].name}: the network ends with a product, or an activation after it")
    first = graph.nodes[0]
    return Stages(graph.input_shape, first.codes, first.width, tuple(steps), math.prod(shape), fraction)


def _check_chain(graph: Graph) -> None:
    before = IMAGES
    for node in graph.nodes:
        if node.inputs != (before,):
            raise UserError(f"export: {node.name} takes {', '.join(node.inputs)}: branches have no such form")
        before = node.name
        if isinstance(node, Conv2D) and (node.groups, node.dilation) != (1, (1, 1)):
            raise UserError(f"export: {node.name}: groups and dilation have no such form")
        if isinstance(node, Conv2D | Dense) and node.bias is not None:
            raise UserError(f"export: {node.name}: a bias has no such form")


def _product(node: Conv2D | Dense, shape_in: Shape, shape_out: Shape, fraction: int, largest_input: int) -> Product:
    codes = node.kernel.codes
    dense = isinstance(node, Dense)
    weights = codes.T[:, None, None] if dense else codes.transpose(3, 0, 1, 2)
    return Product(
        name=node.name,
        kernel=node.kernel,
        weights=np.ascontiguousarray(weights),
        dense=dense,
        shape_in=(1, 1, *shape_in) if dense else shape_in,
        shape_out=(1, 1, *shape_out) if dense else shape_out,
        strides=(1, 1) if dense else node.strides,
        padding="valid" if dense else node.padding,
        fraction=fraction,
        largest_sum=largest_input * int(np.abs(codes.reshape(-1, codes.shape[-1]).astype(np.int64)).sum(axis=0).max()),
        requantization=None,
    )


def _pads_before(shape: Shape, window: tuple[int, ...], strides: tuple[int, int], padding: str) -> tuple[int, int]:
    top, left = (linear.same_padding(*axis, padding)[0] for axis in zip(shape[:2], window, strides, strict=True))
    return top, left
