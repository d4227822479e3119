"""How errors go back through the part of a network that a device trains, or what of it they cannot pass."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from wage_tf.errors import UserError
from wage_tf.export.c_bounds import check_bounds
from wage_tf.export.c_tail import Errors, Layer, Parameter, Refusal, Tail, Training, frozen_before
from wage_tf.export.c_view import View
from wage_tf.export.stages import Stage, Stages
from wage_tf.integer.arithmetic import largest_code
from wage_tf.integer.graph import Graph, float_operands, needing_errors
from wage_tf.integer.linear import Window
from wage_tf.integer.nodes import (
    Activation,
    Add,
    AveragePool2D,
    Bias,
    Concatenate,
    Conv2D,
    Error,
    Flatten,
    Kernel,
    MaxPool2D,
    Node,
    Product,
    Relu,
    Reshape,
    ZeroPad2D,
)
from wage_tf.integer.tensors import Shape
from wage_tf.native.geometry import image_shape

_CODE = 127
_CLASSES = 256
_PLACES = 64
_VIEWS = (Flatten, Reshape)
_ONE_BY_ONE = (MaxPool2D, Relu, *_VIEWS)
_SINGLE = Window((1, 1), (1, 1), "valid")


def tail(graph: Graph, network: Stages, training: Training) -> Tail:
    """What a device trains.

    Args:
        graph: The network.
        network: Its stages, fused.
        training: What is wanted.

    Raises:
        UserError: If something from `training.train_from` on cannot be trained on a device; the message names it, and
            says from which layer on all can.
    """
    try:
        return _tail(graph, network, training)
    except Refusal as refusal:
        names = list(graph.kernels)
        first = 0 if training.train_from is None else names.index(training.train_from)
        later = next((name for name in names[first + 1 :] if _is_trainable(graph, network, name)), None)
        instead = f"; train_from = {later} can be" if later else ""
        raise UserError(f"device training: {refusal}{instead}") from None


def _is_trainable(graph: Graph, network: Stages, name: str) -> bool:
    try:
        _tail(graph, network, Training(train_from=name))
    except UserError:
        return False
    return True


def _tail(graph: Graph, network: Stages, training: Training) -> Tail:
    if network.outputs > _CLASSES:
        raise UserError(f"device training: a label is a byte, for up to {_CLASSES} classes; received {network.outputs}")
    frozen = frozen_before(graph, training.train_from)
    found = _Builder(frozen, network).tail()
    floats = float_operands(frozen)
    if floats:
        raise UserError(f"device training: not all operands are integers: {'; '.join(floats)}")
    return dataclasses.replace(found, is_wide=check_bounds(found, training.batch))


class _Builder:
    """The tail while it is made."""

    def __init__(self, graph: Graph, network: Stages):
        self._graph = graph
        self._stages = {stage.name: stage for stage in network.stages}
        self._products = {stage.node.name: stage for stage in network.products}
        self._network = network
        self._nodes = {node.name: node for node in graph.nodes}
        self._readers = {name: [n for n in graph.nodes for i in n.inputs if i == name] for name in graph.signals}
        self._needed = needing_errors(graph)
        self._errors: dict[str, Errors] = {}
        self._layers: dict[str, Layer] = {}
        self._stored = {Kernel: 0, Bias: 0}

    def tail(self) -> Tail:
        needed = [node for node in self._graph.nodes if node.name in self._needed]
        if not needed:
            raise UserError("device training: every layer is frozen")
        for node in needed:
            self._check(node)
            if isinstance(node, Product):
                self._trained(node)
        for node in needed:
            if node.quantizes_errors and isinstance(node, Activation):
                self._follow(node.name, View.of(self._graph.signals[node.name].shape), self._errors_of(node))
        places = {stage.name: place for place, stage in enumerate(self._network.stages)}
        loss = self._loss()
        others = sorted(self._errors.values(), key=lambda errors: -places[errors.stage.name])
        return Tail(
            (loss, *(errors for errors in others if errors is not loss)), tuple(self._layers.values()), self._late()
        )

    # What is there

    def _check(self, node: Node) -> None:
        """Requires a node that errors can pass on a device."""
        if isinstance(node, Product):
            self._check_product(node)
        elif isinstance(node, MaxPool2D):
            is_fused = any(stage.name == node.name and stage.pool != (1, 1) for stage in self._products.values())
            if not is_fused or math.prod(node.window) > _PLACES:
                raise Refusal(node.name, "a max pooling that is not fused")
        elif isinstance(node, Concatenate):
            if node.axis != len(self._graph.signals[node.name].shape) - 1:
                raise Refusal(node.name, "a concatenation that is not along the channels")
        elif not isinstance(node, (Activation, Add, AveragePool2D, Error, Relu, ZeroPad2D, *_VIEWS)):
            raise Refusal(node.name, type(node).__name__)

    def _check_product(self, node: Product) -> None:
        for what, parameter in node.parameters.items():
            is_kernel = what == "kernel"
            if parameter.variable is None:
                raise Refusal(node.name, f"a frozen {'layer' if is_kernel else 'bias'} behind a trained one")
            if parameter.accumulators is None:
                raise Refusal(node.name, f"a {what} without stored {'weights' if is_kernel else 'numbers'}")
            if is_kernel and parameter.limit > _CODE:
                raise Refusal(node.name, f"stored weights of up to {parameter.limit}, more than 8 bits,")
        (x,) = self._graph.inputs_of(node)
        if max(x.largest, largest_code(node.kernel.width)) > _CODE:
            raise Refusal(node.name, "codes of more than 8 bits")

    def _trained(self, node: Product) -> Layer:
        """The layer of a product; asked for in the order of the nodes, which is that of the stored weights."""
        stage, errors = self._products[node.name], self._errors_behind(node)
        if stage.pool != (1, 1) and errors.stage is not stage:
            raise Refusal(node.name, "a max pooling before a sum")
        kernel, bias = (self._parameter(node.parameters.get(field)) for field in ("kernel", "bias"))
        shape = stage.signal.shape if stage.pool != (1, 1) else self._graph.signals[node.name].shape
        window, groups = (node.window, node.groups) if isinstance(node, Conv2D) else (_SINGLE, 1)
        shapes, fraction = self._shapes(node, shape), node.kernel.log2_scale
        made = Layer(node.name, stage, *shapes, window, groups, stage.pool, fraction, errors, kernel, bias)
        self._layers[node.name] = made
        return made

    def _parameter(self, value: Any) -> Parameter[Any] | None:
        if value is None:
            return None
        made = Parameter(value, self._stored[type(value)])
        self._stored[type(value)] += value.codes.size
        return made

    def _shapes(self, node: Node, shape: Shape) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Of a node's input and of an output as images."""
        return image_shape(self._graph.signals[node.inputs[0]].shape), image_shape(shape)

    # Which errors are whose

    def _errors_behind(self, node: Node, is_masked: bool = False) -> Errors:
        """The errors that, rounded, are those of a node's sums; `is_masked`: behind a ReLU of its own."""
        readers = self._readers[node.name]
        if len(readers) > 1:
            raise Refusal(node.name, "sums with several readers")
        reader = readers[0] if readers else None
        if isinstance(reader, Activation):
            return self._errors_of(reader) if reader.quantizes_errors else self._clipped(reader)
        if isinstance(reader, Error) and reader.quantizes_errors:
            return self._errors_of_scores(reader)
        if isinstance(reader, (Error, *_ONE_BY_ONE)):
            return self._errors_behind(reader, is_masked or isinstance(reader, Relu))
        if isinstance(reader, Add) and not is_masked:
            return self._errors_behind(reader)
        raise Refusal(node.name, f"sums that go unrounded into {'the loss' if reader is None else reader.name}")

    def _clipped(self, node: Activation) -> Errors:
        """Those of what an Activation clips and the QError behind it quantizes."""
        (reader,) = self._readers[node.name] or (None,)
        if isinstance(reader, Error) and reader.quantizes_errors:
            return self._errors_of_scores(reader)
        raise Refusal(node.name, "an activation whose errors are not rounded")

    def _errors_of_scores(self, node: Error) -> Errors:
        """Those of the loss, which the last QError quantizes."""
        after: Node = node
        while self._readers[after.name]:
            (after,) = self._readers[after.name]
            if not isinstance(after, _VIEWS):
                raise Refusal(node.name, "an error that is quantized before the end")
        return self._made(node, self._last_stage())

    def _errors_of(self, node: Activation) -> Errors:
        """Those of an activation's output."""
        maker = self._nodes[node.inputs[0]]
        while isinstance(maker, (Error, *_ONE_BY_ONE)):
            maker = self._nodes[maker.inputs[0]]
        stage = self._products.get(maker.name, self._stages.get(node.name))
        if stage is None:
            raise Refusal(node.name, "an activation of a concatenation")
        return self._made(node, stage)

    def _made(self, node: Activation | Error, stage: Stage) -> Errors:
        if node.name not in self._errors:
            limit = largest_code(node.error_width)
            if limit > _CODE:
                raise Refusal(node.name, "errors of more than 8 bits")
            self._errors[node.name] = Errors(stage, limit, isinstance(node, Activation), [])
        return self._errors[node.name]

    def _loss(self) -> Errors:
        return next(errors for errors in self._errors.values() if errors.stage is self._last_stage())

    def _last_stage(self) -> Stage:
        """The stage that makes the scores."""
        stage = self._network.stages[-1]
        while isinstance(stage.node, _VIEWS):
            stage = self._stages[stage.inputs[0]]
        return stage

    # Who says what they are

    def _follow(self, name: str, view: View, errors: Errors) -> None:
        """Adds the sources of the errors of an output: its readers, seen through what only moves codes."""
        for node in dict.fromkeys(self._readers[name]):
            for place in (place for place, taken in enumerate(node.inputs) if taken == name):
                self._read(node, place, view, errors)

    def _read(self, node: Node, place: int, view: View, errors: Errors) -> None:
        shape = self._graph.signals[node.name].shape
        if isinstance(node, Product):
            errors.sources.append((self._layers[node.name], view))
        elif isinstance(node, (Add, Activation, AveragePool2D)):
            errors.sources.append((self._unweighted(node), view))
        elif isinstance(node, _VIEWS) or (isinstance(node, Error) and not node.quantizes_errors):
            self._follow(node.name, view.reshaped(shape), errors)
        elif isinstance(node, (Concatenate, ZeroPad2D)):
            channel = sum(x.shape[-1] for x in self._graph.inputs_of(node)[:place])
            origin = (node.rows[0], node.columns[0], 0) if isinstance(node, ZeroPad2D) else (0, 0, channel)
            part = view.within(shape, origin)
            if part is None:
                raise Refusal(node.name, "what is padded or concatenated after it was reshaped")
            self._follow(node.name, part, errors)
        elif isinstance(node, Error):
            raise Refusal(node.name, "an error that is quantized before the end")
        else:
            raise Refusal(node.name, f"a {'max pooling' if isinstance(node, MaxPool2D) else 'ReLU'} of codes")

    def _unweighted(self, node: Add | Activation | AveragePool2D) -> Layer:
        if node.name in self._layers:
            return self._layers[node.name]
        if isinstance(node, Activation):
            errors = self._errors_of(node) if node.quantizes_errors else self._clipped(node)
        else:
            errors = self._errors_behind(node)
        shape = self._graph.signals[node.name].shape
        window, fraction = (node.moving, node.log2_area) if isinstance(node, AveragePool2D) else (_SINGLE, 0)
        shapes = self._shapes(node, shape)
        made = Layer(node.name, None, *shapes, window, shapes[0][2], (1, 1), fraction, errors)
        self._layers[node.name] = made
        return made

    # What is computed for the whole batch

    def _late(self) -> frozenset[str]:
        trained = {name for name, layer in self._layers.items() if layer.kernel is not None}
        found: set[str] = set()
        for stage in self._network.stages:
            if stage.node.name in trained or found.intersection(stage.inputs):
                found.add(stage.name)
        return frozenset(found)
