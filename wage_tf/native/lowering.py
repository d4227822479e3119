"""An integer graph as the runtime's program: what is fused, and which tensors there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from wage_tf.errors import UserError
from wage_tf.integer import nodes as kinds
from wage_tf.integer.arithmetic import fraction_bits, largest_code
from wage_tf.integer.graph import Graph
from wage_tf.native.geometry import image_shape, layer_fields, window_fields
from wage_tf.native.program import Border, Node, Program, Shape, Tensor

Kind = TypeVar("Kind", bound=kinds.Node)

_WAYS = 8
_POOL = 8


def lower(graph: Graph, wide: bool) -> Program:
    """Turns a graph into a program for inference or training.

    Args:
        graph: The network.
        wide: Whether codes are int16 and sums int64; see `bounds.proven_program`.

    Raises:
        UserError: If a node has no form in the runtime; the message names it.
    """
    return _Lowering(graph, wide).program()


class _Lowering:
    """The program while it is made: what every graph node's output has become, and who still reads it."""

    def __init__(self, graph: Graph, wide: bool):
        self._graph = graph
        self._wide = wide
        self._nodes: list[Node] = []
        self._tensors: list[Tensor] = []
        self._by_name: dict[str, Tensor] = {}
        self._ends: dict[str, list[Tensor]] = {}
        self._done: set[str] = set()
        self._readers = {name: [n for n in graph.nodes if name in n.inputs] for name in graph.signals}

    def program(self) -> Program:
        for node in self._graph.nodes:
            if node.name in self._done:
                continue
            if type(node) not in _RULES:
                raise UserError(f"native engine: {node.name}: it has no {type(node).__name__}")
            _RULES[type(node)](self, node)
        last = self._graph.nodes[-1].name
        return Program(self._nodes, self._tensors, self._ends[last][0], self._by_name, self._wide)

    # Tensors

    def tensor(self, name: str, sums: bool, signed: bool = True) -> Tensor:
        signal = self._graph.signals[name]
        made = Tensor(image_shape(signal.shape), signal.fraction, signal.largest, signed, sums)
        self._tensors.append(made)
        return made

    def alias(self, tensor: Tensor, shape: Shape | None = None) -> Tensor:
        """The same memory under another name; the error is its own."""
        made = dataclasses.replace(tensor, shape=shape or tensor.shape, gate=None, error=None)
        self._tensors.append(made)
        return made

    def errors(self, layer: dict[str, int]) -> Tensor:
        """The errors' codes of a layer's sums, with the border that makes the error pass a convolution as well."""
        made = Tensor((layer["out_h"], layer["out_w"], layer["filters"]), 0, 0, True, False)
        self._tensors.append(made)
        if layer["stride_h"] == layer["stride_w"] == 1:
            top = layer["dilation_h"] * (layer["window_h"] - 1) - layer["pad_top"]
            left = layer["dilation_w"] * (layer["window_w"] - 1) - layer["pad_left"]
            bottom = layer["in_h"] + layer["pad_top"] - layer["out_h"]
            right = layer["in_w"] + layer["pad_left"] - layer["out_w"]
            made.border.widen(top, left, bottom, right)
        return made

    def take(self, name: str) -> Tensor:
        """The tensor of a graph node's output for its next reader."""
        return self._ends[name].pop(0)

    def add(self, node: Node) -> None:
        self._nodes.append(node)

    def finish(self, node: Node, name: str) -> None:
        """Adds a node whose output is that of the graph node `name`, under one name for each of its readers.

        Where several errors meet, the Q_E that follows is done by the fork, which adds them up.
        """
        (tensor,) = node.outputs
        self._by_name[name] = tensor
        self._ends[name] = [tensor]
        self.add(node)
        readers = sum(reader.inputs.count(name) for reader in self._readers[name])
        if readers > _WAYS:
            raise UserError(f"native engine: {name}: at most {_WAYS} readers of one output; received {readers}")
        if readers > 1:
            self._ends[name] = [self.alias(tensor) for _ in range(readers)]
            self.add(Node("FORK", (), (tensor,), tuple(self._ends[name]), error_limit=node.error_limit))
            node.error_limit = 0

    def codes(self, name: str) -> Tensor:
        """The codes of a node's output for its next reader, copied if they are kept as sums."""
        tensor = self.take(name)
        if not tensor.sums:
            return tensor
        if tensor.largest > largest_code(16):
            raise UserError(f"native engine: {name}: what enters a product has codes of at most {largest_code(16)}")
        copy = dataclasses.replace(self.alias(tensor), sums=False)
        self._tensors[-1] = copy
        copy.border, copy.data = Border(), type(copy.data)()
        self.add(Node("CONCAT", (), (tensor,), (copy,), shifts=(0,)))
        return copy

    def only_reader(self, name: str, kind: type[Kind]) -> Kind | None:
        """The one node that reads an output, if there is but one and of that kind."""
        readers = self._readers[name]
        reader = readers[0] if len(readers) == 1 else None
        return reader if isinstance(reader, kind) else None

    # Nodes

    def rescale(self, node: kinds.Rescale) -> None:
        out = self.tensor(node.name, sums=False, signed=bool((node.codes < 0).any()))
        self.finish(Node("RESCALE", (node.name,), (), (out,), table=node.codes), node.name)

    def product(self, node: kinds.Conv2D | kinds.Dense) -> None:
        x = self.codes(node.inputs[0])
        layer = layer_fields(node, x)
        layer["x_signed"] = int(x.signed)
        layer["w_limit"] = largest_code(node.kernel.width)
        made = Node(
            "LINEAR",
            (node.name,),
            (x,),
            (),
            layer=layer,
            parameter=(f"{node.name}/kernel", node.kernel),
            error_fraction=node.kernel.log2_scale,
        )
        if node.bias is not None:
            self._biased(node, made, x)
            return
        pool = self._side_by_side(node)
        activation = self.only_reader((pool or node).name, kinds.Activation)
        if activation and self._graph.signals[node.name].fraction >= fraction_bits(activation.width):
            if pool:
                layer["pool_h"], layer["pool_w"] = pool.window
                self._skip(made, pool)
            self._activated(made, node.name, activation)
        else:
            made.outputs = (self.tensor(node.name, sums=True),)
        made.errors = self.errors(layer)
        self.finish(made, made.names[-1])

    def _biased(self, node: kinds.Product, made: Node, x: Tensor) -> None:
        """The product, then the node that adds the bias."""
        sums = self.tensor(node.name, sums=True)
        made.outputs = (sums,)
        made.errors = self.errors(made.layer)
        self.add(made)
        fraction = self._graph.signals[node.name].fraction
        biased = Node(
            "ADD",
            (),
            (sums,),
            (),
            shifts=(fraction - x.fraction - node.kernel.log2_scale,),
            parameter=(f"{node.name}/bias", node.bias),
            bias_shift=fraction - node.bias.fraction,
        )
        self._added(biased, node.name)

    def add_node(self, node: kinds.Add) -> None:
        self._check_ways(node)
        inputs = tuple(self.take(name) for name in node.inputs)
        fraction = self._graph.signals[node.name].fraction
        shifts = tuple(fraction - x.fraction for x in inputs)
        self._added(Node("ADD", (node.name,), inputs, (), shifts=shifts), node.name)

    def activation(self, node: kinds.Activation) -> None:
        made = Node("ADD", (), (self.take(node.inputs[0]),), (), shifts=(0,))
        self._activated(made, node.inputs[0], node)
        self.finish(made, node.name)

    def _added(self, made: Node, name: str) -> None:
        """An ADD of a graph node, with the Activation that follows, if it is the only reader."""
        activation = self.only_reader(name, kinds.Activation)
        if activation:
            self._activated(made, name, activation)
        else:
            made.outputs = (self.tensor(name, sums=True),)
        self.finish(made, activation.name if activation else name)

    def _activated(self, made: Node, sums: str, node: kinds.Activation) -> None:
        """Fuses ReLU, Q_A and Q_E of `node` to what makes the `sums`."""
        out = self.tensor(node.name, sums=False, signed=not node.relu)
        out.gate = type(out.data)()
        made.outputs = (out,)
        made.layer |= {
            "output": 1,
            "relu": int(node.relu),
            "shift": self._graph.signals[sums].fraction - fraction_bits(node.width),
            "limit": largest_code(node.width),
        }
        made.error_limit = largest_code(node.error_width) if node.error_width else 0
        self._skip(made, node)

    def _skip(self, made: Node, node: kinds.Node) -> None:
        made.names += (node.name,)
        self._done.add(node.name)

    def _side_by_side(self, node: kinds.Product) -> kinds.MaxPool2D | None:
        """The max pooling of a product's output that can be fused to it."""
        pool = self.only_reader(node.name, kinds.MaxPool2D)
        if not pool or pool.window != pool.strides or max(pool.window) > _POOL:
            return None
        unpadded = pool.moving.pads(self._graph.signals[node.name].shape) == ((0, 0), (0, 0))
        return pool if unpadded and self.only_reader(pool.name, kinds.Activation) else None

    def pool(self, node: kinds.MaxPool2D | kinds.AveragePool2D) -> None:
        x = self.take(node.inputs[0])
        (top, _), (left, _) = node.moving.pads(x.shape)
        layer = window_fields(node.window, node.strides, top, left)
        kind, gain, sums = "MAX_POOL", 0, x.sums
        if isinstance(node, kinds.AveragePool2D):
            kind, gain, sums = "SUM_POOL", node.log2_area, True
        out = self.tensor(node.name, sums=sums, signed=x.signed)
        self.finish(Node(kind, (node.name,), (x,), (out,), layer=layer, error_fraction=gain), node.name)

    def relu(self, node: kinds.Relu) -> None:
        out = self.tensor(node.name, sums=True, signed=False)
        out.gate = type(out.data)()
        x = self.take(node.inputs[0])
        self.finish(Node("ADD", (node.name,), (x,), (out,), layer={"relu": 1}, shifts=(0,)), node.name)

    def reshape(self, node: kinds.Flatten | kinds.Reshape | kinds.Identity) -> None:
        (name,) = node.inputs
        if self._graph.signals[name].is_pixels:
            return
        x = self.take(name)
        if not x.sums and len(self._readers[name]) > 1:
            copy = self.tensor(name, sums=False, signed=x.signed)
            self.add(Node("CONCAT", (), (x,), (copy,), shifts=(0,)))
            x = copy
        out = self.alias(x, image_shape(self._graph.signals[node.name].shape))
        self.finish(Node("FORK", (node.name,), (x,), (out,)), node.name)

    def pad(self, node: kinds.ZeroPad2D) -> None:
        if self._graph.signals[node.name].is_pixels:
            raise UserError(f"native engine: {node.name}: padding comes after a Rescale, not before it")
        x = self.take(node.inputs[0])
        layer = {"pad_top": node.rows[0], "pad_left": node.columns[0]}
        out = self.tensor(node.name, sums=x.sums, signed=x.signed)
        self.finish(Node("PAD", (node.name,), (x,), (out,), layer=layer), node.name)

    def concatenate(self, node: kinds.Concatenate) -> None:
        self._check_ways(node)
        inputs = tuple(self.take(name) for name in node.inputs)
        signal = self._graph.signals[node.name]
        if node.axis != len(signal.shape) - 1:
            raise UserError(f"native engine: {node.name}: a concatenation is along the channels")
        shifts = tuple(signal.fraction - x.fraction for x in inputs)
        sums = any(shifts) or any(x.sums for x in inputs)
        out = self.tensor(node.name, sums=sums, signed=any(x.signed for x in inputs))
        self.finish(Node("CONCAT", (node.name,), inputs, (out,), shifts=shifts), node.name)

    def error(self, node: kinds.Error) -> None:
        x = self.take(node.inputs[0])
        out = self.alias(x)
        limit = largest_code(node.error_width) if node.error_width else 0
        self.finish(Node("ERROR", (node.name,), (x,), (out,), error_limit=limit), node.name)

    def _check_ways(self, node: kinds.Node) -> None:
        if len(node.inputs) > _WAYS:
            raise UserError(f"native engine: {node.name}: at most {_WAYS} inputs; received {len(node.inputs)}")


_RULES: dict[type, Callable] = {
    kinds.Rescale: _Lowering.rescale,
    kinds.Conv2D: _Lowering.product,
    kinds.Dense: _Lowering.product,
    kinds.MaxPool2D: _Lowering.pool,
    kinds.AveragePool2D: _Lowering.pool,
    kinds.Flatten: _Lowering.reshape,
    kinds.Reshape: _Lowering.reshape,
    kinds.Identity: _Lowering.reshape,
    kinds.Relu: _Lowering.relu,
    kinds.ZeroPad2D: _Lowering.pad,
    kinds.Add: _Lowering.add_node,
    kinds.Concatenate: _Lowering.concatenate,
    kinds.Activation: _Lowering.activation,
    kinds.Error: _Lowering.error,
}
