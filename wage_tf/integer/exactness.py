"""Where float32 accumulation can leave the exact range: sums of integers are exact below 2^24, whatever their order.

A node's bound is the largest Σ|terms| of its sums for a batch: no partial sum, in any order, is larger, so that below
`EXACT_SUMS` float32 has the integers. A bound at or above it is as tight as it gets; a smaller one may be rough.
"""

from __future__ import annotations

from wage_tf.integer.arithmetic import magnitude
from wage_tf.integer.graph import Graph
from wage_tf.integer.nodes import Node
from wage_tf.integer.tensors import Tensor, finest, sum_bound

EXACT_SUMS = 2**24


def forward_bounds(graph: Graph, outputs: dict[str, Tensor]) -> dict[str, int]:
    """The bound of every node's forward sums, by name, where it adds anything up.

    Args:
        graph: The network.
        outputs: What `engine.forward` returned.
    """
    bounds = {}
    for node in graph.nodes:
        bound = node.forward_bound(EXACT_SUMS, *(outputs[name] for name in node.inputs))
        if bound is not None:
            bounds[node.name] = bound
    return bounds


def error_bounds(graph: Graph, outputs: dict[str, Tensor], errors: dict[str, Tensor]) -> dict[str, int]:
    """The bound of the error sums that a node gives its inputs, by name, where it adds anything up.

    Where an output has several readers, their sum is the bound under its own name. Under the last node's name stands
    y − t, the scores' error.

    Args:
        graph: The network.
        outputs: What `engine.forward` returned.
        errors: What `engine.backward` returned.
    """
    last = graph.nodes[-1].name
    bounds = {last: magnitude(outputs[last].codes) + 2 ** outputs[last].fraction}
    for node in graph.nodes:
        found = []
        if set(node.inputs) & set(errors):
            found.append(node.error_bound(EXACT_SUMS, errors[node.name], *(outputs[name] for name in node.inputs)))
        meeting = _meeting(graph, node, outputs, errors) if node.name in errors else []
        if meeting:
            found.append(sum_bound(meeting, finest(meeting)))
        known = [bound for bound in (bounds.get(node.name), *found) if bound is not None]
        if known:
            bounds[node.name] = max(known)
    return bounds


def gradient_bounds(graph: Graph, outputs: dict[str, Tensor], errors: dict[str, Tensor]) -> dict[str, int]:
    """The bound of every trained parameter's gradient sums, by name.

    Args:
        graph: The network.
        outputs: What `engine.forward` returned.
        errors: What `engine.backward` returned.
    """
    return {
        f"{node.name}/{field}": bound
        for node in graph.nodes
        if node.name in errors
        for field, bound in node.gradient_bounds(errors[node.name], *(outputs[name] for name in node.inputs)).items()
    }


def _meeting(graph: Graph, node: Node, outputs: dict[str, Tensor], errors: dict[str, Tensor]) -> list[Tensor]:
    """The errors that a node's several readers give it; none where it has one reader."""
    readers = [(reader, i) for reader in graph.nodes for i, name in enumerate(reader.inputs) if name == node.name]
    if len(readers) < 2:
        return []
    return [
        reader.backward(errors[reader.name], *(outputs[name] for name in reader.inputs))[i] for reader, i in readers
    ]
