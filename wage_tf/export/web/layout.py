"""A network of the C runtime laid out in a page's memory, and the plan by which the page's script reads it."""

from __future__ import annotations

import math

import numpy as np

from wage_tf.export.web.image import Image
from wage_tf.integer.graph import Graph
from wage_tf.integer.nodes import Kernel
from wage_tf.native.network import Network
from wage_tf.native.program import Tensor

BASE = 2**17
"""Where the image begins: behind the stack and the constants of the WebAssembly module."""

_PIXELS = 256
_RATE = ("log2_eta", "random_width", "seed", "step")


def lay_out(graph: Graph, batch: int) -> tuple[bytes, dict[str, object]]:
    """Lays a network out for WebAssembly's memory.

    Args:
        graph: The network.
        batch: The most images at once.

    Returns:
        What the memory holds from `BASE` on, zeros after it, and the plan: addresses in bytes, tensors and parameters.

    Raises:
        UserError: If the native engine is not built or cannot train the graph.
    """
    network = Network(graph, batch, training=True, threads=1, isa="portable", keep=True)
    net, state = network.net, network.state
    team = network.ffi.new("wage_team *", {"count": 1})
    image = Image(network.ffi, BASE)
    for pointer, count in (
        (net, 1),
        (state, 1),
        (team, 1),
        (net.nodes, net.node_count),
        (net.tensors, net.tensor_count),
        (net.rules, net.weights_count),
        (state.weights, net.weights_count),
    ):
        image.structures(pointer, count)
    image.unknown(net.kernels)
    for row in network.rows:
        if row.table:
            image.integers(row.table, _PIXELS)
    rules = {name: net.rules[row] for row, name in enumerate(network.parameters)}
    weights = {name: state.weights[row] for row, name in enumerate(network.parameters)}
    for name, (_, (codes, stored)) in network.parameters.items():
        image.array(
            weights[name].codes if stored is None else weights[name].stored, codes if stored is None else stored
        )
    for name, (_, (codes, stored)) in network.parameters.items():
        image.unknown(weights[name].packed)
        if stored is not None and codes is not None:
            image.zeros(codes.nbytes, weights[name].codes)
    slots = net.tensor_count + net.weights_count
    image.zeros(8 * slots, state.largest)
    image.zeros(4 * slots, state.fractions)
    image.zeros(network.arena_bytes, state.arena)
    places = {"net": image.address(net), "state": image.address(state), "team": image.address(team)}
    places["images"] = image.zeros(batch * math.prod(graph.input_shape))
    places["labels"] = image.zeros(4 * batch)
    arena = image.address(state.arena)
    program = network.program
    shown = {name: tensor for name, tensor in program.by_name.items() if not tensor.sums}
    plan = {
        "base": BASE,
        "end": image.end,
        "batch": batch,
        "shape": list(graph.input_shape),
        "places": places,
        "rate": {name: image.field(state, name) for name in _RATE},
        "scores": _tensor(program.scores, arena, program.wide),
        "activations": [{"name": name, **_tensor(tensor, arena, program.wide)} for name, tensor in shown.items()],
        "parameters": [
            {
                "name": name,
                "shape": list(parameter.codes.shape),
                "trained": bool(rules[name].trained),
                "codes": _array(codes, weights[name].codes, image),
                "stored": _array(stored, weights[name].stored, image),
                "width": parameter.width if isinstance(parameter, Kernel) else None,
            }
            for name, (parameter, (codes, stored)) in network.parameters.items()
        ],
    }
    return image.content(), plan


def _array(values: np.ndarray | None, pointer: object, image: Image) -> dict[str, object] | None:
    return None if values is None else {"type": values.dtype.name, "at": image.address(pointer)}


def _tensor(tensor: Tensor, arena: int, wide: bool) -> dict[str, object]:
    """How the script reads a tensor: the place of its first number, the elements to the next row and the next image."""
    kind = np.dtype(("int64" if wide else "int32") if tensor.sums else ("int16" if wide else "int8"))
    row = (tensor.shape[1] if tensor.sums else tensor.columns) * tensor.shape[2]
    begin = 0 if tensor.sums else tensor.border.top * row + tensor.border.left * tensor.shape[2]
    return {
        "shape": list(tensor.shape),
        "type": kind.name,
        "at": arena + tensor.data.offset + begin * kind.itemsize,
        "row": row,
        "image": row * (tensor.shape[0] if tensor.sums else tensor.rows),
        "fraction": tensor.fraction,
        "largest": tensor.largest,
        "signed": tensor.signed,
    }
