"""The weights that a device has learned, back in the integer graph: the block that `wage_save` writes.

| bytes  | content, little endian                                                    |
| ------ | ------------------------------------------------------------------------- |
| 4      | the magic "WAGB"                                                          |
| 4      | version                                                                   |
| 4      | length of the block                                                       |
| 4      | the network: CRC-32 of its packed form when it was exported               |
| 4      | steps done                                                                |
| 4      | log2 of the learning rate                                                 |
| n      | layer after layer: stored weights [filters, h, w, channels / groups], a   |
|        | byte each, and biases, four bytes each                                    |
| 4      | CRC-32 of all before                                                      |
"""

from __future__ import annotations

import dataclasses
import struct
import zlib

import numpy as np

from wage_tf.errors import UserError
from wage_tf.integer.arithmetic import quantize
from wage_tf.integer.graph import Graph
from wage_tf.integer.nodes import Bias, Kernel

HEADER = struct.Struct("<4sIIIIi")
OVERHEAD = HEADER.size + 4
_MAGIC, _VERSION = b"WAGB", 1


def with_block(graph: Graph, block: bytes) -> Graph:
    """The graph with the weights of a block that a device saved.

    Args:
        graph: The network that was exported, with accumulators; the block belongs to the last of its layers.
        block: What `wage_save` wrote.

    Raises:
        UserError: If it is cut or damaged, or of another size than the last layers of the graph.
    """
    body = block[:-4]
    if len(block) < OVERHEAD or zlib.crc32(body) != int.from_bytes(block[-4:], "little"):
        raise UserError("the block of weights is cut or damaged: its checksum does not fit")
    magic, version, length, *_ = HEADER.unpack_from(block)
    if (magic, version, length) != (_MAGIC, _VERSION, len(block)):
        raise UserError(f"not a block of weights of version {_VERSION}")
    kernels, start = [], len(body)
    for name in reversed(graph.kernels):
        if start == HEADER.size:
            break
        kernels.append(name)
        start -= sum(_bytes(graph.parameters[field]) for field in _fields(graph, name))
        if start < HEADER.size:
            raise UserError(f"the block of weights ends within {name}: it is another network's")
    if start != HEADER.size:
        raise UserError("the block has more weights than the network")
    changed: dict[str, Kernel | Bias] = {}
    for field in (field for name in reversed(kernels) for field in _fields(graph, name)):
        parameter = graph.parameters[field]
        changed[field] = _updated(parameter, body[start : start + _bytes(parameter)])
        start += _bytes(parameter)
    return graph.with_parameters(changed)


def _fields(graph: Graph, name: str) -> list[str]:
    """The names of a node's parameters."""
    return [field for field in (f"{name}/kernel", f"{name}/bias") if field in graph.parameters]


def _bytes(parameter: Kernel | Bias) -> int:
    return parameter.codes.size * (1 if isinstance(parameter, Kernel) else 4)


def _updated(parameter: Kernel | Bias, content: bytes) -> Kernel | Bias:
    if isinstance(parameter, Bias):
        codes = np.frombuffer(content, "<i4").astype(parameter.codes.dtype)
        return dataclasses.replace(parameter, codes=codes, is_stored=True)
    units_first = (parameter.codes.shape[-1], *parameter.codes.shape[:-1])
    accumulators = np.moveaxis(np.frombuffer(content, np.int8).reshape(units_first), 0, -1).copy()
    codes = quantize(accumulators, parameter.fraction, parameter.width)
    return dataclasses.replace(parameter, accumulators=accumulators, codes=codes)
