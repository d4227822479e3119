"""The single passes of a network's layers, for whoever wants to time them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from wage_tf.integer.arithmetic import largest_code
from wage_tf.native.arena import Buffer
from wage_tf.native.network import Network
from wage_tf.native.program import Tensor
from wage_tf.native.structures import Structures


def passes(network: Network, count: int) -> Iterator[tuple[str, dict[str, Callable[..., Any]], int]]:
    """The kernels' calls of every linear layer, on one thread.

    Args:
        network: Made with `keep`, after a step.
        count: Images.

    Yields:
        The layer's name, its passes by name, and the operations of one, two a product.
    """
    structures = network.structures
    ffi, state = structures.ffi, structures.state
    team = ffi.new("wage_team *", {"count": 1})
    for row, node in zip(structures.rows, network.program.nodes, strict=True):
        if node.kind != "LINEAR":
            continue
        layer, table = ffi.addressof(row, "layer"), row.kernels
        weights = state.weights[row.weights]
        packed = weights.packed if table.packed_size(layer) else weights.codes
        x, y = _image(structures, node.inputs[0]), _image(structures, node.outputs[0])
        gate, before = (ffi.cast("uint8_t *", _place(structures, t.gate)) for t in (node.outputs[0], node.inputs[0]))
        work = ffi.NULL if row.workspace < 0 else structures.at(row.workspace)
        calls: dict[str, Callable[..., Any]] = {
            "forward": partial(table.forward, layer, packed, x, y, gate, count, work, team)
        }
        if node.gradient is not None:
            e, error = _image(structures, node.errors), _place(structures, node.outputs[0].error)
            rounding = ffi.new("wage_rounding *", {"shift": 3, "limit": largest_code(8)})
            calls["round"] = partial(table.round_errors, layer, rounding, error, gate, e, count, team)
            if node.inputs[0].error is not None:
                into = _place(structures, node.inputs[0].error)
                calls["error"] = partial(table.error, layer, packed, e, into, before, count, work, team)
            into = _place(structures, node.gradient)
            calls["gradient"] = partial(table.gradient, layer, x, e, into, count, work, team)
        if table.packed_size(layer):
            calls["pack"] = partial(table.pack, layer, weights.codes, weights.packed, network.training, team)
        height, width = node.layer["out_h"], node.layer["out_w"]
        yield node.names[0], calls, 2 * count * height * width * node.parameter[1].codes.size


def _place(structures: Structures, buffer: Buffer | None) -> object:
    return structures.ffi.NULL if buffer is None or buffer.offset < 0 else structures.at(buffer.offset)


def _image(structures: Structures, tensor: Tensor) -> object:
    row = tensor.columns * tensor.shape[2]
    begin = 0 if tensor.sums else tensor.border.top * row + tensor.border.left * tensor.shape[2]
    data = structures.at(tensor.data.offset + begin * structures.code_dtype.itemsize)
    return structures.ffi.new("wage_image *", {"data": data, "row": row, "image": tensor.rows * row})
