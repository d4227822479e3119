"""An integer graph as the stages of inference: what C and LiteRT run.

A stage is a node with what rounds its sums at once, so that wide sums need no memory of their own. For that every
Activation and Relu moves to the node that makes the sums, over nodes with which it commutes:

- max pooling, since rounding, clipping and ReLU are monotone; padding with zeros, since they keep 0; reshaping,
- a concatenation, whose inputs then are rounded one by one: bringing codes to a common fraction is exact.

Not over a node whose output somebody else reads, and not over sums. What only training needs, Error and Identity, goes.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Collection
from typing import Any

import numpy as np

from wage_tf.errors import UserError
from wage_tf.integer.arithmetic import fraction_bits, largest_code
from wage_tf.integer.graph import IMAGES, Graph
from wage_tf.integer.nodes import (
    Activation,
    Add,
    AveragePool2D,
    Concatenate,
    Error,
    Flatten,
    Identity,
    MaxPool2D,
    Node,
    Product,
    Relu,
    Reshape,
    ZeroPad2D,
)
from wage_tf.integer.tensors import Signal, Tensor

_INT32 = 2**31 - 1
_TRAINING_ONLY = (Error, Identity)
_ROUNDING = (Activation, Relu)
_COMMUTING = (MaxPool2D, Flatten, Reshape, ZeroPad2D)
_SUMMING = (Product, Add, AveragePool2D)


@dataclasses.dataclass(frozen=True)
class Rounding:
    """Sums to codes: max(x, 0) where `relu`, then x / 2^`shift` rounded half to even and clipped to ±`limit`.

    A limit of 0 leaves the sums as they are.
    """

    relu: bool = False
    shift: int = 0
    limit: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """A node and the rounding of its output.

    Attributes:
        node: The node, of a kind that the code which runs the stage knows.
        name: Under which other stages take its output; that of the last node that it stands for.
        inputs: Names of the stages whose outputs it takes, or `graph.IMAGES`.
        sources: What is known of them.
        rounding: What follows the node's sums.
        sums: What is known of the sums, before they are rounded.
        signal: What is known of the output. Bounds are those of the actual weights, where these do not change.
        pool: Size of the windows, side by side, of whose sums only the largest is kept; see `fused`.
    """

    node: Any
    name: str
    inputs: tuple[str, ...]
    sources: tuple[Signal, ...]
    rounding: Rounding
    sums: Signal
    signal: Signal
    pool: tuple[int, int] = (1, 1)

    @property
    def product_shift(self) -> int:
        """Left shift that brings sums of products to the fraction of the sums, which a bias may make finer."""
        return self.sums.fraction - self.sources[0].fraction - self.node.kernel.log2_scale


@dataclasses.dataclass(frozen=True, eq=False)
class Stages:
    """The stages in order, the last of which gives the scores.

    Attributes:
        input_shape: Shape of an image.
        stages: The stages.
    """

    input_shape: tuple[int, ...]
    stages: tuple[Stage, ...]

    @property
    def output(self) -> Signal:
        """What is known of the scores."""
        return self.stages[-1].signal

    @property
    def outputs(self) -> int:
        """Number of scores."""
        return math.prod(self.output.shape)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image, those on padding included."""
        return sum(stage.node.macs(*stage.sources) for stage in self.stages)

    @property
    def products(self) -> list[Stage]:
        """The stages with weights."""
        return [stage for stage in self.stages if isinstance(stage.node, Product)]


def stages(graph: Graph, learning: Collection[str] = ()) -> Stages:
    """Brings a graph into stages.

    Args:
        graph: The network.
        learning: Names of the products whose weights will change, so that only their width bounds them.

    Raises:
        UserError: If sums can pass 32 bits, where the message names the node, or if there is no kernel.
    """
    nodes = _with_roundings_at_sums(_without(list(graph.nodes), _TRAINING_ONLY))
    signals = {IMAGES: graph.signals[IMAGES]}
    readers = _readers(nodes)
    found, absorbed = [], set()
    for node in nodes:
        if node.name in absorbed:
            continue
        sources = tuple(signals[name] for name in node.inputs)
        sums = signal = node.signal(*sources) if node.name in learning else tight_signal(node, sources)
        if sums.largest > _INT32:
            raise UserError(f"export: the sums of {node.name} can pass 32 bits")
        last, rounding = node, Rounding()
        if isinstance(node, (*_SUMMING, *_ROUNDING)):
            following = [node] if isinstance(node, _ROUNDING) else readers[node.name]
            sums = sources[0] if isinstance(node, _ROUNDING) else sums
            signal = sums
            while rounding.limit == 0 and len(following) == 1 and isinstance(following[0], _ROUNDING):
                last = following[0]
                rounding = _rounding(last, rounding, signal)
                signal = last.signal(signal)
                absorbed.add(last.name)
                following = readers[last.name]
        signals[last.name] = signal
        found.append(Stage(node, last.name, node.inputs, sources, rounding, sums, signal))
    network = Stages(graph.input_shape, tuple(found))
    if not network.products:
        raise UserError("export: the network has no layer with a kernel")
    return network


def fused(network: Stages) -> Stages:
    """The stages with what a product's sums can go through one by one done where they are made.

    That is a max pooling of windows side by side, since no sum is made twice and rounding keeps the order; and an Add
    of two, of which the product is one: its stage then has two inputs, the second of which is added to its sums.
    """
    readers = collections.Counter(name for stage in network.stages for name in stage.inputs)
    found: dict[str, Stage] = {}
    for stage in network.stages:
        products = [name for name in stage.inputs if readers[name] == 1 and _takes_more(found.get(name))]
        new = stage
        if products and isinstance(stage.node, MaxPool2D) and _is_side_by_side(stage):
            kept: dict[str, Any] = {"name": stage.name, "signal": stage.signal, "pool": stage.node.window}
            new = dataclasses.replace(found.pop(products[0]), **kept)
        elif products and isinstance(stage.node, Add) and len(stage.inputs) == 2:
            product = found.get(products[-1])
            if product.rounding == Rounding():
                del found[product.name]
                other = 1 - stage.inputs.index(product.name)
                ends = (*product.inputs, stage.inputs[other]), (*product.sources, stage.sources[other])
                new = dataclasses.replace(stage, node=product.node, inputs=ends[0], sources=ends[1])
        found[new.name] = new
    return Stages(network.input_shape, tuple(found.values()))


def _takes_more(stage: Stage | None) -> bool:
    """Whether a stage is a product with which nothing is fused yet."""
    is_product = stage is not None and isinstance(stage.node, Product)
    return is_product and stage.pool == (1, 1) and len(stage.inputs) == 1


def _is_side_by_side(stage: Stage) -> bool:
    node = stage.node
    return node.window == node.strides and node.moving.pads(stage.sources[0].shape) == ((0, 0), (0, 0))


def _without(nodes: list[Node], kinds: tuple[type[Node], ...]) -> list[Node]:
    """The nodes but those of some kinds, which pass their input on as it is."""
    instead: dict[str, str] = {}
    kept = []
    for node in nodes:
        inputs = tuple(instead.get(name, name) for name in node.inputs)
        if isinstance(node, kinds):
            instead[node.name] = inputs[0]
        else:
            kept.append(dataclasses.replace(node, inputs=inputs))
    return kept


def _with_roundings_at_sums(nodes: list[Node]) -> list[Node]:
    """The nodes with every rounding moved to where its sums are made."""
    while True:
        by_name, readers = {node.name: node for node in nodes}, _readers(nodes)
        for node in nodes:
            target = _target(node, by_name, readers)
            if target is not None and node.inputs[0] != target.name:
                nodes = _moved(nodes, node, target, readers)
                break
            if isinstance(target, Concatenate):
                nodes = _divided(nodes, node, target)
                break
        else:
            return nodes


def _target(node: Node, by_name: dict[str, Node], readers: dict[str, list[Node]]) -> Node | None:
    """The node on whose output a rounding can act instead."""
    before = by_name.get(node.inputs[0])
    if not isinstance(node, _ROUNDING):
        return None
    while isinstance(before, _COMMUTING) and len(readers[before.name]) == 1:
        before = by_name.get(before.inputs[0])
    is_sole = before is not None and len(readers[before.name]) == 1
    return before if is_sole and isinstance(before, (*_SUMMING, *_ROUNDING, Concatenate)) else None


def _moved(nodes: list[Node], rounding: Node, target: Node, readers: dict[str, list[Node]]) -> list[Node]:
    """The nodes with a rounding directly behind its target."""
    (next_reader,) = readers[target.name]
    renamed = {rounding.name: rounding.inputs[0]}
    found = []
    for node in nodes:
        if node is rounding:
            continue
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        inputs = (rounding.name,) if node is next_reader else inputs
        found.append(dataclasses.replace(node, inputs=inputs))
        if node is target:
            found.append(dataclasses.replace(rounding, inputs=(target.name,)))
    return found


def _divided(nodes: list[Node], rounding: Node, joined: Node) -> list[Node]:
    """The nodes with the rounding of a concatenation done on every input of it, once for each place it is taken in."""
    parts = [
        dataclasses.replace(rounding, name=f"{rounding.name}/{i}", inputs=(name,))
        for i, name in enumerate(joined.inputs)
    ]
    found = []
    for node in nodes:
        if node is joined:
            inputs = tuple(part.name for part in parts)
            found += [*parts, dataclasses.replace(joined, name=rounding.name, inputs=inputs)]
        elif node is not rounding:
            found.append(node)
    return found


def _readers(nodes: list[Node]) -> dict[str, list[Node]]:
    """The nodes that take an output, once for each time they do."""
    found: dict[str, list[Node]] = {node.name: [] for node in nodes}
    for node in nodes:
        for name in node.inputs:
            found.setdefault(name, []).append(node)
    return found


def tight_signal(node: Node, sources: tuple[Signal, ...]) -> Signal:
    """What is known of an output, with the bound that the actual weights give."""
    signal = node.signal(*sources)
    if not isinstance(node, Product):
        return signal
    extremes = (Tensor(np.array([x.largest]), x.fraction) for x in sources)
    return dataclasses.replace(signal, largest=node.forward_bound(signal.largest + 1, *extremes))


def _rounding(node: Activation | Relu, before: Rounding, x: Signal) -> Rounding:
    relu = before.relu or isinstance(node, Relu) or node.relu
    if isinstance(node, Relu):
        return Rounding(relu)
    return Rounding(relu, x.fraction - fraction_bits(node.width), largest_code(node.width))
