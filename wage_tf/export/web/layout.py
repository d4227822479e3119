"""A network of the C runtime laid out in a page's memory, and the plan by which its script finds its way there."""

from __future__ import annotations

import math

import numpy as np

from wage_tf.export.web.image import Image
from wage_tf.integer.graph import Graph
from wage_tf.integer.nodes import Kernel
from wage_tf.native.arena import Buffer
from wage_tf.native.network import Network
from wage_tf.native.program import Program, Tensor
from wage_tf.native.structures import Structures

BASE = 2**17
"""Where the image begins: behind the stack and the constants of the WebAssembly module."""

_PIXELS = 256
_WORD = 4
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
    structures = network.structures
    net, state = structures.net, structures.state
    team = structures.ffi.new("wage_team *", {"count": 1})
    image = Image(structures.ffi, BASE)
    _add_tables(image, structures, team)
    _add_numbers(image, structures)
    places = {"net": image.address(net), "state": image.address(state), "team": image.address(team)}
    places["images"] = image.zeros(batch * math.prod(graph.input_shape))
    places["labels"] = image.zeros(_WORD * batch)
    plan = {
        "base": BASE,
        "end": image.end,
        "batch": batch,
        "shape": list(graph.input_shape),
        "places": places,
        "rate": {name: image.field(state, name) for name in _RATE},
        "scores": _tensor(network.program.scores, image.address(state.arena), network.program.wide),
        "activations": _activations(network.program, image.address(state.arena)),
        "parameters": _parameters(image, structures),
    }
    return image.content(), plan


def _add_tables(image: Image, structures: Structures, team: object) -> None:
    net, state = structures.net, structures.state
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
    for row in structures.rows:
        image.unknown(row.kernels)
        if row.table:
            image.integers(row.table, _PIXELS)


def _add_numbers(image: Image, structures: Structures) -> None:
    """Weights, of which the codes follow from what is stored, and then all that holds nothing yet."""
    net, state = structures.net, structures.state
    derived = []
    for row, (_, (codes, stored)) in zip(
        state.weights[0 : net.weights_count], structures.parameters.values(), strict=True
    ):
        image.unknown(row.packed)
        if stored is None:
            image.array(row.codes, codes)
            continue
        image.array(row.stored, stored)
        if codes is not None:
            derived.append((codes.nbytes, row.codes))
    slots = net.tensor_count + net.weights_count
    room = ((2 * _WORD * slots, state.largest), (_WORD * slots, state.fractions), (structures.arena_bytes, state.arena))
    for size, pointer in (*derived, *room):
        image.zeros(size, pointer)


def _activations(program: Program, arena: int) -> list[dict[str, object]]:
    """The tensors of codes by the names of their nodes; of names for the same memory the first."""
    names: dict[Buffer, str] = {}
    for name, tensor in program.by_name.items():
        if not tensor.sums:
            names.setdefault(tensor.data, name)
    return [{"name": name, **_tensor(program.by_name[name], arena, program.wide)} for name in names.values()]


def _parameters(image: Image, structures: Structures) -> list[dict[str, object]]:
    weights = structures.state.weights
    return [
        {
            "name": name,
            "shape": list(parameter.codes.shape),
            "width": parameter.width if isinstance(parameter, Kernel) else None,
            "codes": _array(codes, weights[row].codes, image),
            "stored": _array(stored, weights[row].stored, image),
        }
        for row, (name, (parameter, (codes, stored))) in enumerate(structures.parameters.items())
    ]


def _array(values: np.ndarray | None, pointer: object, image: Image) -> dict[str, object] | None:
    return None if values is None else {"type": values.dtype.name, "at": image.address(pointer)}


def _tensor(tensor: Tensor, arena: int, wide: bool) -> dict[str, object]:
    """How the script reads a tensor: its first number's place, and the elements from a row or an image to the next."""
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
