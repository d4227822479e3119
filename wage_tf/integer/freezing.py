"""Turns a Keras model into an integer graph: walks its layers, those of nested models too (`readers` reads each)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import keras

from wage_tf.errors import UserError
from wage_tf.integer.graph import IMAGES, Graph
from wage_tf.integer.nodes import Node, Rescale
from wage_tf.integer.readers import READERS, Place


@dataclasses.dataclass(frozen=True)
class Call:
    """A layer's place in a model.

    Attributes:
        layer: The layer.
        name: Its name, with the names of the nested models that hold it in front.
        inputs: Names of the nodes whose outputs it takes.
        nodes: The nodes that stand for it, the last of which gives its output.
    """

    layer: keras.Layer
    name: str
    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]

    @property
    def output(self) -> str:
        """Name of the node of its output."""
        return self.nodes[-1].name


def freeze(model: keras.Model) -> Graph:
    """Reads the integers out of a trained or untrained model.

    Args:
        model: A Functional or Sequential model of layers that have integer nodes, nested models included, from raw
            uint8 images, with integer widths for W and A.

    Returns:
        The graph. A kernel has accumulators where its stored weights lie on their grid, which training needs; a frozen
        layer (trainable=False) stays as it is in training.

    Raises:
        UserError: If a layer has no node in the integer graph or an operand of the forward pass is float32; the
            message names the layer.
    """
    return read(model)[0]


def read(model: keras.Model) -> tuple[Graph, tuple[Call, ...]]:
    """What `freeze` returns, and the layers that its nodes stand for."""
    if not model.built or not hasattr(model, "inputs") or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UserError(f"model {model.name}: the integer graph needs a built model of one input and one output")
    variables = {id(variable): index for index, variable in enumerate(model.trainable_variables)}
    calls: list[Call] = []
    _walk(model, "", [IMAGES], variables, calls)
    nodes = tuple(node for call in calls for node in call.nodes)
    if not any(isinstance(node, Rescale) for node in nodes):
        raise UserError(f"model {model.name}: the integer graph begins with a QRescaling, which takes raw uint8 pixels")
    return Graph(tuple(model.inputs[0].shape[1:]), nodes), tuple(calls)


def _walk(
    model: keras.Model, prefix: str, inputs: Sequence[str], variables: dict[int, int], calls: list[Call]
) -> list[str]:
    """Appends the layers of a model to `calls`; takes and returns names of nodes for its inputs and outputs."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    names = dict(zip(map(id, graph.inputs), inputs, strict=True))
    nodes = sorted(graph._nodes_by_depth.items(), reverse=True)
    for node in itertools.chain.from_iterable(nodes_of_depth for _, nodes_of_depth in nodes):
        layer = node.operation
        if isinstance(layer, keras.layers.InputLayer):
            continue
        entering = [names[id(tensor)] for tensor in node.input_tensors]
        if isinstance(layer, keras.Model):
            outputs = _walk(layer, f"{prefix}{layer.name}/", entering, variables, calls)
        else:
            shape = tuple(node.input_tensors[0].shape[1:])
            calls.append(_call(Place(layer, prefix + layer.name, tuple(entering), shape, variables), calls))
            outputs = [calls[-1].output]
        names.update(zip(map(id, node.output_tensors), outputs, strict=True))
    return [names[id(tensor)] for tensor in graph.outputs]


def _call(place: Place, calls: list[Call]) -> Call:
    layer, name = place.layer, place.name
    reader = READERS.get(type(layer))
    if reader is None:
        kinds = ", ".join(kind.__name__ for kind in READERS)
        raise UserError(
            f"layer {name}: {type(layer).__name__} has no integer node; the kinds supported are {kinds}"
            " (wage_tf.quantize_model converts an ordinary Keras model)"
        )
    if any(call.layer is layer for call in calls):
        raise UserError(f"layer {name}: used in two places; an integer graph takes each layer once")
    return Call(layer, name, place.inputs, tuple(reader(place)))
