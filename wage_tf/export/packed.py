"""The packed file: an integer graph with every code at its true width. Written and read without TensorFlow.

| bytes     | content                                                                                   |
| --------- | ----------------------------------------------------------------------------------------- |
| 8         | the magic "WAGE-INT"                                                                      |
| 2         | version of the format, little endian                                                      |
| 4         | length of the header, little endian                                                       |
| length    | header: JSON in UTF-8 with the metadata, the input's shape and the nodes                  |
| the rest  | arrays in the order of the nodes (`bitpack`): tables, weight codes or accumulators, biases |
| 32        | SHA-256 of everything before                                                              |

A kernel is stored as its k_W-bit codes or, where training is to go on, as its accumulators, of which the codes are
the quantized values. Ternary weights take two bits, binary ones one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from wage_tf import files
from wage_tf.errors import UserError
from wage_tf.export import bitpack
from wage_tf.export.card import Card
from wage_tf.integer.arithmetic import code_dtype, largest_code, quantize
from wage_tf.integer.graph import IMAGES, Graph
from wage_tf.integer.nodes import KINDS, Bias, Kernel, Node, Rescale

VERSION = 2
_MAGIC = b"WAGE-INT"
_PREFIX = struct.Struct("<8sHI")
_DIGEST = hashlib.sha256().digest_size
_MOST_CODES = 2**31


def write_packed(path: str | os.PathLike, graph: Graph, card: Card, accumulators: bool = False) -> int:
    """Writes a packed file, whole or not at all.

    Args:
        path: The file.
        graph: The network.
        card: Its metadata.
        accumulators: Keep the stored weights too, so that training can go on.

    Returns:
        Its size in bytes.

    Raises:
        UserError: If accumulators are wanted and the graph has none.
    """
    return files.write_all({Path(path): to_bytes(graph, card, accumulators)})


def read_packed(path: str | os.PathLike) -> tuple[Graph, Card]:
    """Reads a packed file.

    Raises:
        UserError: If the file cannot be read, is not a packed file, is of another version, cut or damaged, or does
            not describe a network; the message begins with the path.
    """
    try:
        return from_bytes(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def to_bytes(graph: Graph, card: Card, accumulators: bool = False) -> bytes:
    """The content of a packed file."""
    nodes, arrays = [], []
    for node in graph.nodes:
        fields = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
        if isinstance(node, Rescale):
            arrays.append(bitpack.pack(fields.pop("codes"), node.width))
        for name, parameter in node.parameters.items():
            if isinstance(parameter, Kernel):
                fields[name], array = _kernel_to_json(node.name, parameter, accumulators)
            else:
                fields[name], array = _bias_to_json(node.name, parameter, accumulators)
            arrays.append(array)
        nodes.append({"kind": type(node).__name__, **fields})
    header = {"metadata": card.as_dict(), "input_shape": list(graph.input_shape), "nodes": nodes}
    text = json.dumps(header, separators=(",", ":")).encode()
    content = _PREFIX.pack(_MAGIC, VERSION, len(text)) + text + b"".join(arrays)
    return content + hashlib.sha256(content).digest()


def from_bytes(content: bytes) -> tuple[Graph, Card]:
    """Reads the content of a packed file.

    Raises:
        UserError: See `read_packed`.
    """
    if len(content) < _PREFIX.size or not content.startswith(_MAGIC):
        raise UserError("not a packed integer model")
    _, version, length = _PREFIX.unpack_from(content)
    if not 1 <= version <= VERSION:
        raise UserError(f"packed format of version {version}; this library reads versions 1 to {VERSION}")
    body, digest = memoryview(content)[:-_DIGEST], content[-_DIGEST:]
    if hashlib.sha256(body).digest() != digest:
        raise UserError("the packed model is cut or damaged: its checksum does not fit")
    text, data = body[_PREFIX.size : _PREFIX.size + length], body[_PREFIX.size + length :]
    try:
        header = json.loads(str(text, "utf-8"))
    except (ValueError, RecursionError):
        raise UserError("the packed model's header is not JSON") from None
    header = _fields(header, {"metadata", "input_shape", "nodes"})
    nodes = _typed(header["nodes"], list, "nodes")
    return _read(header | {"nodes": _as_version_2(nodes) if version == 1 else nodes}, data)


def _as_version_2(nodes: list[Any]) -> list[Any]:
    """The nodes of a version 1 file, a chain without bias, groups and dilation, as version 2 writes them."""
    plain: dict[str, Any] = {"bias": None, "dilation": [1, 1], "groups": 1}
    new = {"Conv2D": plain, "Dense": {"bias": None}}
    found: list[Any] = []
    before: Any = IMAGES
    for fields in nodes:
        if isinstance(fields, dict):
            fields = {**fields, "inputs": [before], **new.get(str(fields.get("kind")), {})}
            before = fields.get("name")
        found.append(fields)
    return found


def _read(header: dict, data: memoryview) -> tuple[Graph, Card]:
    reader = _Reader(data)
    nodes = tuple(_node(fields, reader) for fields in header["nodes"])
    if reader.left:
        raise UserError(f"{reader.left} bytes follow the last array")
    return Graph(_sizes(header["input_shape"], "input_shape"), nodes), Card.from_dict(header["metadata"])


class _Reader:
    """Takes packed arrays off bytes, one after the other."""

    def __init__(self, data: memoryview):
        self._data, self._position = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self._position

    def take(self, shape: tuple[int, ...], width: int) -> np.ndarray:
        count = math.prod(shape)
        if not 0 < count <= _MOST_CODES:
            raise UserError(f"an array of shape {shape} is empty or too large")
        size = bitpack.packed_size(count, width)
        part = self._data[self._position : self._position + size]
        self._position += len(part)
        return bitpack.unpack(part, count, width).reshape(shape)


def _node(fields: Any, reader: _Reader) -> Node:
    kind = KINDS.get(str(fields.get("kind"))) if isinstance(fields, dict) else None
    if kind is None:
        raise UserError(f"a node is one of {', '.join(KINDS)}; received {str(fields)[:80]}")
    names = {field.name for field in dataclasses.fields(kind)} - ({"codes"} if kind is Rescale else set())
    fields = dict(_fields(fields, {"kind", *names}))
    del fields["kind"]
    _typed(fields["name"], str, "name")
    inputs = _typed(fields["inputs"], list, "inputs")
    fields["inputs"] = tuple(_typed(name, str, "inputs") for name in inputs)
    for name in _SIZES & names:
        fields[name] = _sizes(fields[name], name)
    for name in _PADS & names:
        fields[name] = tuple(_typed(size, int, name) for size in _typed(fields[name], list, name))
    if kind is Rescale:
        width = _width(fields["width"])
        return Rescale(codes=reader.take((256,), width).astype(code_dtype(largest_code(width))), **fields)
    if "kernel" in names:
        fields["kernel"] = _kernel(fields["kernel"], reader)
    if fields.get("bias") is not None:
        fields["bias"] = _bias(fields["bias"], reader)
    return kind(**fields)


_SIZES = {"strides", "window", "dilation", "shape"}
_PADS = {"rows", "columns"}
_KERNEL_FIELDS = ("width", "alpha", "gradient_width", "fraction", "limit", "variable")


def _kernel_to_json(name: str, kernel: Kernel, accumulators: bool) -> tuple[dict[str, Any], bytes]:
    if accumulators and kernel.accumulators is None:
        raise UserError(f"packed model: {name} has no accumulators to keep")
    fields = {field: getattr(kernel, field) for field in _KERNEL_FIELDS}
    fields |= {"shape": list(kernel.codes.shape), "accumulators": accumulators}
    if accumulators:
        return fields, bitpack.pack(kernel.accumulators, _accumulator_width(kernel.limit))
    return fields, bitpack.pack(kernel.codes, kernel.width)


def _kernel(fields: Any, reader: _Reader) -> Kernel:
    fields = dict(_fields(fields, {*_KERNEL_FIELDS, "shape", "accumulators"}))
    shape = _sizes(fields.pop("shape"), "shape")
    width = _width(fields["width"])
    limit, fraction = (_typed(fields[name], int, name) for name in ("limit", "fraction"))
    if not (width - 1 <= fraction <= 30 and 0 < limit <= 2**fraction):
        raise UserError(f"accumulators of {fraction} fraction bits clipped at {limit} are out of range")
    if not _typed(fields.pop("accumulators"), bool, "accumulators"):
        codes = reader.take(shape, width).astype(code_dtype(largest_code(width)))
        return Kernel(codes=codes, accumulators=None, **fields)
    stored = reader.take(shape, _accumulator_width(limit)).astype(code_dtype(limit), copy=False)
    return Kernel(codes=quantize(stored, fraction, width), accumulators=stored, **fields)


_BIAS_FIELDS = ("gradient_width", "fraction", "limit", "variable")


def _bias_to_json(name: str, bias: Bias, accumulators: bool) -> tuple[dict[str, Any], bytes]:
    if accumulators and not bias.is_stored:
        raise UserError(f"packed model: {name} has no accumulators to keep")
    fields = {field: getattr(bias, field) for field in _BIAS_FIELDS}
    fields |= {"units": len(bias.codes), "accumulators": accumulators}
    return fields, bitpack.pack(bias.codes, _accumulator_width(bias.limit))


def _bias(fields: Any, reader: _Reader) -> Bias:
    fields = dict(_fields(fields, {*_BIAS_FIELDS, "units", "accumulators"}))
    units, limit = (_typed(fields[name], int, name) for name in ("units", "limit"))
    is_stored = _typed(fields["accumulators"], bool, "accumulators")
    if not 0 < limit < 2**31:
        raise UserError(f"a bias clipped at {limit} is out of range")
    codes = reader.take((units,), _accumulator_width(limit)).astype(code_dtype(limit))
    return Bias(codes, is_stored=is_stored, **{field: fields[field] for field in _BIAS_FIELDS})


def _accumulator_width(limit: int) -> int:
    return limit.bit_length() + 1


def _fields(value: Any, names: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != names:
        raise UserError(f"the fields {', '.join(sorted(names))} belong here; received {str(value)[:80]}")
    return value


def _typed(value: Any, kind: type, name: str) -> Any:
    if type(value) is not kind:
        raise UserError(f"{name} is of type {kind.__name__}; received {str(value)[:80]}")
    return value


def _sizes(value: Any, name: str) -> tuple[int, ...]:
    sizes = tuple(_typed(size, int, name) for size in _typed(value, list, name))
    if not sizes or len(sizes) > 4 or not all(0 < size < 2**31 for size in sizes):
        raise UserError(f"{name} has one to four positive sizes; received {str(sizes)[:80]}")
    return sizes


def _width(value: Any) -> int:
    if not 1 <= _typed(value, int, "width") <= 16:
        raise UserError(f"widths are 1 to 16 bits; received {value}")
    return value
