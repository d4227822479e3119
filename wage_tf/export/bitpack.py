"""Integer codes at their true width: k bits each, lowest bit first, one after the other, the last byte filled up."""

from __future__ import annotations

import numpy as np

from wage_tf.errors import UserError
from wage_tf.integer.arithmetic import blocks, code_dtype, largest_code


def packed_size(count: int, width: int) -> int:
    """Bytes of `count` codes of `width` bits."""
    return -(-count * width // 8)


def pack(codes: np.ndarray, width: int) -> bytes:
    """Packs codes in two's complement on `width` bits; on one bit −1 is 0 and 1 is 1.

    Args:
        codes: Integer array, flattened in row-major order.
        width: Bits of each code; the codes fit.
    """
    flat = codes.ravel()
    return b"".join(_pack(flat[block], width) for block in blocks(flat.size))


def unpack(data: bytes | memoryview, count: int, width: int) -> np.ndarray:
    """Reads `count` codes back, [count] of the narrowest integer type that holds `width` bits.

    Raises:
        UserError: If the length does not fit, or the bits that fill up the last byte are not zero.
    """
    if len(data) != packed_size(count, width):
        raise UserError(f"{count} codes of {width} bits need {packed_size(count, width)} bytes; there are {len(data)}")
    if count * width % 8 and data[-1] >> (count * width % 8):
        raise UserError("the bits that fill up the last byte of an array are zero")
    codes = np.empty(count, code_dtype(largest_code(width)))
    for block in blocks(count):
        place, size = block.start * width // 8, block.stop - block.start
        codes[block] = _unpack(data[place : place + packed_size(size, width)], size, width)
    return codes


def _pack(codes: np.ndarray, width: int) -> bytes:
    words = codes.astype(np.int64)
    words = (words + 1) >> 1 if width == 1 else words
    return np.packbits((words[:, None] >> np.arange(width) & 1).astype(np.uint8), bitorder="little").tobytes()


def _unpack(data: bytes | memoryview, count: int, width: int) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count * width, bitorder="little")
    words = bits.reshape(count, width).astype(np.int64) @ (1 << np.arange(width, dtype=np.int64))
    return 2 * words - 1 if width == 1 else np.where(words >> (width - 1), words - (1 << width), words)
