"""Where float32 accumulation can leave the exact range: sums of integers are exact below 2^24, whatever their order."""

from __future__ import annotations

import numpy as np

from wage_tf.integer import engine
from wage_tf.integer.arithmetic import magnitude
from wage_tf.integer.graph import Conv2D, Dense, Graph

EXACT_SUMS = 2**24


def gradient_bounds(graph: Graph, outputs: list[np.ndarray], errors: list[np.ndarray | None]) -> dict[str, int]:
    """The largest Σ|x|·|e| of every kernel's gradient: no partial sum, in any order, is larger.

    Below `EXACT_SUMS` a float32 gradient is the integers'. Sums forward and of the error are smaller by far; the
    static bounds `graph.largest` tell.

    Args:
        graph: The network.
        outputs: What `engine.forward` returned.
        errors: What `engine.backward` returned.
    """
    bounds = {}
    for place, node in enumerate(graph.nodes):
        if isinstance(node, Conv2D | Dense):
            x, e = np.abs(outputs[place - 1]), np.abs(errors[place])
            bounds[node.name] = magnitude(engine.kernel_gradient(node, x, e))
    return bounds
