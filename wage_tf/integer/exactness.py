"""Where float32 accumulation can leave the exact range: sums of integers are exact below 2^24, whatever their order.

A product's bound is the largest Σ|a|·|b| of its sums for a batch: no partial sum, in any order, is larger, so that
below `EXACT_SUMS` float32 has the integers. Forward and backward it is first estimated from the largest code and the
weights alone, and computed where that estimate is not enough.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from wage_tf.integer import engine
from wage_tf.integer.arithmetic import magnitude
from wage_tf.integer.graph import Activation, Conv2D, Dense, Error, Graph, MaxPool2D

EXACT_SUMS = 2**24


def forward_bounds(graph: Graph, outputs: list[np.ndarray]) -> dict[str, int]:
    """The bound of every kernel's forward sums, by name.

    Args:
        graph: The network.
        outputs: What `engine.forward` returned.
    """
    bounds = {}
    for place, node in _kernels(graph):
        x, weights = outputs[place - 1], _sizes(node)
        bound = magnitude(x) * _largest_sum(weights.kernel.codes, axis=-1)
        if bound >= EXACT_SUMS:
            bound = magnitude(engine.node_forward(weights, np.abs(x), graph.fractions[place - 1]))
        bounds[node.name] = bound
    return bounds


def error_bounds(graph: Graph, outputs: list[np.ndarray], errors: list[np.ndarray | None]) -> dict[str, int]:
    """The bound of every kernel's error sums, which its input gets, by name, where that error is needed at all.

    Overlapping poolings below a kernel add such sums up. Under the last node's name stands y − t, the scores' error.

    Args:
        graph: The network.
        outputs: What `engine.forward` returned.
        errors: What `engine.backward` returned.
    """
    bounds = {graph.nodes[-1].name: magnitude(outputs[-1]) + 2 ** graph.fractions[-1]}
    for place, node in _kernels(graph):
        if errors[place - 1] is None:
            continue
        e, weights, overlap = errors[place], _sizes(node), _overlap(graph, place)
        bound = overlap * magnitude(e) * _largest_sum(weights.kernel.codes, axis=-2)
        if bound >= EXACT_SUMS:
            sums = engine.node_backward(weights, outputs[place - 1], graph.fractions[place - 1], np.abs(e))
            bound = overlap * magnitude(sums)
        bounds[node.name] = bound
    return bounds


def gradient_bounds(
    graph: Graph, outputs: list[np.ndarray], errors: list[np.ndarray | None], gradients: dict[str, np.ndarray]
) -> dict[str, int]:
    """The bound of every kernel's gradient sums, by name.

    Args:
        graph: The network.
        outputs: What `engine.forward` returned.
        errors: What `engine.backward` returned, with `gradients`.
        gradients: See `errors`.
    """
    bounds = {}
    for place, node in _kernels(graph):
        if node.name in gradients:
            x, e = np.abs(outputs[place - 1]), np.abs(errors[place])
            bounds[node.name] = magnitude(engine.kernel_gradient(node, x, e))
    return bounds


def _kernels(graph: Graph) -> list[tuple[int, Conv2D | Dense]]:
    return [(place, node) for place, node in enumerate(graph.nodes) if isinstance(node, Conv2D | Dense)]


def _sizes(node: Conv2D | Dense) -> Conv2D | Dense:
    """The node with |codes| as its weights."""
    return dataclasses.replace(node, kernel=dataclasses.replace(node.kernel, codes=np.abs(node.kernel.codes)))


def _largest_sum(weights: np.ndarray, axis: int) -> int:
    """The largest sum of weights over all axes but one."""
    others = tuple(i for i in range(weights.ndim) if i != axis % weights.ndim)
    return int(weights.astype(np.int64).sum(axis=others).max())


def _overlap(graph: Graph, place: int) -> int:
    """How many windows of the poolings between a kernel and the node that quantizes its input's error share a pixel."""
    overlap = 1
    for node in reversed(graph.nodes[:place]):
        if (isinstance(node, Activation | Error) and node.error_width is not None) or isinstance(node, Conv2D | Dense):
            break
        if isinstance(node, MaxPool2D):
            overlap *= math.prod(-(-size // stride) for size, stride in zip(node.window, node.strides, strict=True))
    return overlap
