"""The weights that a device has learned, back in the integer graph: the block that `wage_save` writes.

| bytes  | content, little endian                                                    |
| ------ | ------------------------------------------------------------------------- |
| 4      | the magic "WAGB"                                                          |
| 4      | version                                                                   |
| 4      | length of the block                                                       |
| 4      | the network: CRC-32 of its packed form when it was exported               |
| 4      | steps done                                                                |
| 4      | log2 of the learning rate                                                 |
| n      | stored weights of the trained layers, [filters, h, w, channels / groups], |
|        | and after a layer's its biases                                            |
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
    changed, end = {}, len(body)
    for name, parameter in reversed(graph.parameters.items()):
        if end == HEADER.size:
            break
        end -= parameter.codes.size
        if end < HEADER.size:
            raise UserError(f"the block of weights ends within {name}: it is another network's")
        changed[name] = _updated(parameter, np.frombuffer(block, np.int8, parameter.codes.size, end))
    if end != HEADER.size:
        raise UserError("the block has more weights than the network")
    return graph.with_parameters(changed)


def _updated(parameter: Kernel | Bias, stored: np.ndarray) -> Kernel | Bias:
    if isinstance(parameter, Bias):
        return dataclasses.replace(parameter, codes=stored.astype(parameter.codes.dtype), is_stored=True)
    kernel = parameter
    units_first = (kernel.codes.shape[-1], *kernel.codes.shape[:-1])
    accumulators = np.moveaxis(stored.reshape(units_first), 0, -1).copy()
    return dataclasses.replace(
        kernel, accumulators=accumulators, codes=quantize(accumulators, kernel.fraction, kernel.width)
    )
