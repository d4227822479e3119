"""Integer codes at their true width: k bits each, lowest bit first, one after the other, the last byte filled up."""

from __future__ import annotations

import numpy as np

from wage_tf.errors import UserError


def packed_size(count: int, width: int) -> int:
    """Bytes of `count` codes of `width` bits."""
    return -(-count * width // 8)


def pack(codes: np.ndarray, width: int) -> bytes:
    """Packs codes in two's complement on `width` bits; on one bit −1 is 0 and 1 is 1.

    Args:
        codes: Integer array, flattened in row-major order.
        width: Bits of each code; the codes fit.
    """
    flat = codes.astype(np.int64).ravel()
    words = (flat + 1) >> 1 if width == 1 else flat
    return np.packbits((words[:, None] >> np.arange(width) & 1).astype(np.uint8), bitorder="little").tobytes()


def unpack(data: bytes, count: int, width: int) -> np.ndarray:
    """Reads `count` codes back, int64 [count].

    Raises:
        UserError: If the length does not fit, or the bits that fill up the last byte are not zero.
    """
    if len(data) != packed_size(count, width):
        raise UserError(f"{count} codes of {width} bits need {packed_size(count, width)} bytes; there are {len(data)}")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    if bits[count * width :].any():
        raise UserError("the bits that fill up the last byte of an array are zero")
    words = bits[: count * width].reshape(count, width).astype(np.int64) @ (1 << np.arange(width, dtype=np.int64))
    return 2 * words - 1 if width == 1 else np.where(words >> (width - 1), words - (1 << width), words)
