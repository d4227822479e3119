"""Tables and weights of the C runtime as the memory of wasm32: the same structures, with pointers of four bytes.

The declarations of the runtime's headers, as cffi knows them, give every field's place; nothing is written down twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

_POINTER = 4
_ALIGNMENT = 64


class Image:
    """Blocks of this process' memory, each with its address in the image; those of zeros come last, and are not in it.

    Args:
        ffi: Knows the types.
        base: Address of the first block.
    """

    def __init__(self, ffi: Any, base: int):
        self._ffi = ffi
        self._base = self._end = base
        self._addresses = {0: 0}
        self._blocks: list[tuple[int, Callable[[], bytes]]] = []

    @property
    def end(self) -> int:
        """The first address after all blocks."""
        return self._end

    def structures(self, pointer: object, count: int = 1) -> None:
        """Adds `count` structures at a pointer, or the head of an array."""
        item = self._ffi.typeof(pointer).item
        size, _ = _size(self._ffi, item)
        rows = self._ffi.cast(f"{item.cname} *", pointer)
        self._add(pointer, size * count, lambda: b"".join(self._encoded(item, rows[i]) for i in range(count)))

    def array(self, pointer: object, values: np.ndarray) -> None:
        """Adds the content of an array, to which C has a pointer."""
        self._add(pointer, values.nbytes, values.tobytes)

    def integers(self, pointer: object, count: int) -> None:
        """Adds an array of integers that C has."""
        content = bytes(self._ffi.buffer(pointer, count * self._ffi.sizeof(self._ffi.typeof(pointer).item)))
        self._add(pointer, len(content), lambda: content)

    def unknown(self, pointer: object) -> None:
        """Lets a pointer be NULL in the image."""
        self._addresses[self._host(pointer)] = 0

    def zeros(self, size: int, pointer: object = None) -> int:
        """Adds a block of zeros and returns its address; of this process' memory, or of none."""
        address = self._reserved(size)
        if pointer is not None:
            self._addresses[self._host(pointer)] = address
        return address

    def address(self, pointer: object) -> int:
        """Where what a pointer points to lies in the image."""
        return self._addresses[self._host(pointer)]

    def field(self, pointer: object, name: str) -> int:
        """The address of one field of a structure."""
        return self.address(pointer) + _fields(self._ffi, self._ffi.typeof(pointer).item)[name][0]

    def content(self) -> bytes:
        """All blocks but those of zeros, from the base on."""
        content = bytearray()
        for address, block in self._blocks:
            content += bytes(address - self._base - len(content))
            content += block()
        return bytes(content)

    def _add(self, pointer: object, size: int, block: Callable[[], bytes]) -> None:
        address = self._reserved(size)
        self._addresses[self._host(pointer)] = address
        self._blocks.append((address, block))

    def _reserved(self, size: int) -> int:
        address = -(-self._end // _ALIGNMENT) * _ALIGNMENT
        self._end = address + size
        return address

    def _host(self, pointer: object) -> int:
        return int(self._ffi.cast("uintptr_t", pointer))

    def _encoded(self, kind: Any, value: Any) -> bytes:
        match kind.kind:
            case "struct":
                content = bytearray(_size(self._ffi, kind)[0])
                for name, (offset, field) in _fields(self._ffi, kind).items():
                    part = self._encoded(field, getattr(value, name))
                    content[offset : offset + len(part)] = part
                return bytes(content)
            case "array":
                return b"".join(self._encoded(kind.item, element) for element in value)
            case "primitive":
                return (int(value) % 256 ** self._ffi.sizeof(kind)).to_bytes(self._ffi.sizeof(kind), "little")
        return self.address(value).to_bytes(_POINTER, "little")


def _size(ffi: Any, kind: Any) -> tuple[int, int]:
    """Bytes of a type on wasm32, and their alignment."""
    match kind.kind:
        case "struct":
            offset, field = list(_fields(ffi, kind).values())[-1]
            alignment = max(_size(ffi, field)[1] for _, field in _fields(ffi, kind).values())
            return _aligned(offset + _size(ffi, field)[0], alignment), alignment
        case "array":
            size, alignment = _size(ffi, kind.item)
            return size * kind.length, alignment
        case "primitive":
            return ffi.sizeof(kind), ffi.sizeof(kind)
    return _POINTER, _POINTER


def _fields(ffi: Any, kind: Any) -> dict[str, tuple[int, Any]]:
    """Offset and type of every field of a structure on wasm32."""
    fields, end = {}, 0
    for name, field in kind.fields:
        size, alignment = _size(ffi, field.type)
        fields[name] = (_aligned(end, alignment), field.type)
        end = fields[name][0] + size
    return fields


def _aligned(size: int, alignment: int) -> int:
    return math.ceil(size / alignment) * alignment
