"""Where buffers lie in one block of memory: those that are never needed at the same time share their place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

ALIGNMENT = 64


@dataclasses.dataclass(eq=False)
class Buffer:
    """A piece of memory that is needed for a while.

    Attributes:
        size: Bytes.
        first: The first point in time at which it is needed; None while it is not.
        last: The last.
        offset: Where it lies, once planned.
    """

    size: int = 0
    first: int | None = None
    last: int = -1
    offset: int = -1

    def use(self, time: int) -> None:
        """Notes that the buffer holds something at this time and since its first use."""
        self.first = time if self.first is None else min(self.first, time)
        self.last = max(self.last, time)


def plan(buffers: Iterable[Buffer], sharing: bool = True, alignment: int = ALIGNMENT) -> int:
    """Gives every buffer in use an offset, and returns the bytes that they take.

    The largest come first, each at the lowest place that is free during its time.

    Args:
        buffers: The buffers.
        sharing: Whether two may share a place at different times.
        alignment: Bytes of which every offset is a multiple.
    """
    placed: list[Buffer] = []
    for buffer in sorted((b for b in buffers if b.first is not None), key=lambda b: b.size, reverse=True):
        others = sorted(
            (b for b in placed if not sharing or (b.first <= buffer.last and buffer.first <= b.last)),
            key=lambda b: b.offset,
        )
        buffer.offset = 0
        for other in others:
            if buffer.offset + buffer.size <= other.offset:
                break
            buffer.offset = max(buffer.offset, _aligned(other.offset + other.size, alignment))
        placed.append(buffer)
    return max((b.offset + b.size for b in placed), default=0)


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
