"""Bit widths of the four operands of WAGE (weights, activations, gradients, errors), of a layer or a whole network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from wage_tf.errors import UserError

_PATTERN = (
    "a pattern is four widths W-A-G-E such as '2-8-8-8' or '2,8,f,f': "
    "integers 1 to 16 for W, 2 to 16 for A, G and E, 'f' for float32"
)
_MAX_WIDTH = 16
_SMALLEST = {"w": 1, "a": 2, "g": 2, "e": 2}


@dataclasses.dataclass(frozen=True)
class BitWidths:
    """Bit widths W-A-G-E of one layer or network; `None` leaves an operand in float32.

    Args:
        w: Width of the weights, 1 (binary, ±1) to 16, or None.
        a: Width of the activations, 2 to 16, or None.
        g: Width of the weight gradients (the update's grid), 2 to 16, or None.
        e: Width of the errors (gradients of the activations), 2 to 16, or None.

    Raises:
        ValueError: If a width is not an integer in its range.

    Examples:
        >>> bits = BitWidths.parse("2,8,8,8")
        >>> bits.w, str(bits)
        (2, '2-8-8-8')
        >>> str(bits.replace(e=None))
        '2-8-8-f'
    """

    w: int | None = 2
    a: int | None = 8
    g: int | None = 8
    e: int | None = 8

    def __post_init__(self) -> None:
        for operand, smallest in _SMALLEST.items():
            width = getattr(self, operand)
            if width is None:
                continue
            if isinstance(width, bool) or not isinstance(width, int) or not smallest <= width <= _MAX_WIDTH:
                raise ValueError(f"bits: {_PATTERN}; received {operand.upper()} = {width!r}")

    @classmethod
    def parse(cls, pattern: str | BitWidths) -> BitWidths:
        """Reads `"2-8-8-8"` or `"2,8,f,f"`; a BitWidths is returned as it is.

        Raises:
            ValueError: If `pattern` does not have four valid widths; the message shows what a pattern looks like.
        """
        if isinstance(pattern, cls):
            return pattern
        if not isinstance(pattern, str):
            raise ValueError(f"bits: {_PATTERN}; received {pattern!r}")
        widths = pattern.replace(",", "-").split("-")
        if len(widths) != len(_SMALLEST):
            raise ValueError(f"bits: {_PATTERN}; received {pattern!r}")
        return cls(*(_parse_width(width.strip(), pattern) for width in widths))

    def replace(self, **widths: int | None) -> BitWidths:
        """Returns a copy with some widths (`w`, `a`, `g`, `e`) changed."""
        return dataclasses.replace(self, **widths)

    def __str__(self) -> str:
        return "-".join("f" if width is None else str(width) for width in (self.w, self.a, self.g, self.e))


@dataclasses.dataclass(frozen=True)
class NetworkBits:
    """The patterns of a network: one of all blocks, or one per block.

    Args:
        rest: Pattern of every block that is not named; None where all have to be named.
        blocks: (name, pattern) of the blocks that have one of their own.

    Raises:
        ValueError: If there is no pattern at all.

    Examples:
        >>> bits = NetworkBits.parse({"conv1": "8-8-8-8", "*": "2-8-8-8"})
        >>> str(bits.of("conv1")), str(bits.of("fc2"))
        ('8-8-8-8', '2-8-8-8')
    """

    rest: BitWidths | None
    blocks: tuple[tuple[str, BitWidths], ...] = ()

    def __post_init__(self) -> None:
        if self.rest is None and not self.blocks:
            raise ValueError("bits: a pattern, or at least one block with a pattern; received none")

    @classmethod
    def parse(cls, bits: str | BitWidths | Mapping[str, str | BitWidths] | NetworkBits) -> NetworkBits:
        """Reads a pattern, or a mapping from block names to patterns with "*" for the rest.

        Raises:
            ValueError: If a pattern is malformed, a name is no text, or the mapping is empty.
        """
        if isinstance(bits, NetworkBits):
            return bits
        if not isinstance(bits, Mapping):
            return cls(BitWidths.parse(bits))
        unnamed = [name for name in bits if not isinstance(name, str)]
        if unnamed:
            raise ValueError(f"bits: blocks are named by text; received {unnamed[0]!r}")
        patterns = {name: BitWidths.parse(pattern) for name, pattern in bits.items()}
        return cls(patterns.pop("*", None), tuple(patterns.items()))

    def of(self, block: str) -> BitWidths:
        """The pattern of a block.

        Raises:
            UserError: If the block is not named and there is no pattern for the rest.
        """
        found = dict(self.blocks).get(block, self.rest)
        if found is None:
            raise UserError(f"bits: no pattern for the layer {block!r} and no '*' for the rest; received {self}")
        return found

    @property
    def patterns(self) -> tuple[BitWidths, ...]:
        """Every pattern that occurs, in order."""
        named = tuple(pattern for _, pattern in self.blocks)
        return named if self.rest is None else (*named, self.rest)

    def as_json(self) -> str | dict[str, str]:
        """What `parse` reads: the pattern, or the mapping."""
        if not self.blocks:
            return str(self.rest)
        rest = {} if self.rest is None else {"*": str(self.rest)}
        return {**{name: str(pattern) for name, pattern in self.blocks}, **rest}

    def __str__(self) -> str:
        found = self.as_json()
        return found if isinstance(found, str) else ", ".join(f"{name}: {pattern}" for name, pattern in found.items())


def width_of(bits: BitWidths | str | int | None, operand: str) -> int | None:
    """Returns the width of one operand, given as a pattern, a BitWidths, or the bare width itself.

    Args:
        bits: `"2-8-8-8"`, a BitWidths, an integer, or None or `"f"` for float32.
        operand: `"w"`, `"a"`, `"g"` or `"e"`.

    Raises:
        ValueError: If `bits` is none of these or out of the operand's range.
    """
    if isinstance(bits, str) and bits.strip().lower() == "f":
        return None
    if isinstance(bits, (str, BitWidths)):
        return getattr(BitWidths.parse(bits), operand)
    return getattr(BitWidths(**{operand: bits}), operand)


def _parse_width(width: str, pattern: str) -> int | None:
    if width.lower() == "f":
        return None
    if not (width.isascii() and width.isdigit()):
        raise ValueError(f"bits: {_PATTERN}; received {pattern!r}")
    return int(width)
