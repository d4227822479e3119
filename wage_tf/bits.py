"""Bit widths of the four operands of WAGE: weights, activations, gradients and errors."""

from __future__ import annotations

import dataclasses

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
