"""Integer tensors: codes and the one exponent that gives them their size; what is known of them before any image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from wage_tf.errors import UserError
from wage_tf.integer.arithmetic import code_dtype, magnitude

Shape = tuple[int, ...]
LARGEST_SUM = 2**62


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """Integer codes c of the values c·2^(−fraction).

    Activations have the fraction that the graph fixes (`Graph.signals`); that of an error comes with the data, since
    Q_E keeps Shift(max|e|), and may be negative.
    """

    codes: np.ndarray
    fraction: int

    def replace(self, codes: np.ndarray) -> Tensor:
        """Other codes in the same units."""
        return Tensor(codes, self.fraction)


@dataclasses.dataclass(frozen=True)
class Signal:
    """What a graph knows of a tensor.

    Attributes:
        shape: Its shape without the batch.
        fraction: Its fraction bits.
        largest: A bound on the size of its codes.
        is_pixels: Whether it holds raw pixels, which only a Rescale turns into codes.
    """

    shape: Shape
    fraction: int
    largest: int
    is_pixels: bool = False

    def reshaped(self, shape: Shape) -> Signal:
        """The same numbers in another shape."""
        return dataclasses.replace(self, shape=tuple(shape))


def aligned(tensors: Sequence[Tensor], fraction: int) -> list[np.ndarray]:
    """The codes of several tensors in units of 2^(−fraction), of one dtype that also holds their sum.

    Args:
        tensors: Tensors whose fractions are at most `fraction`, those of zeros excepted.
        fraction: The fraction wanted.

    Raises:
        UserError: If the sum could pass 62 bits.
    """
    largest = sum_bound(tensors, fraction)
    if largest >= LARGEST_SUM:
        raise UserError(f"integers: {len(tensors)} tensors that meet differ too much in size: their sum passes 62 bits")
    dtype = np.result_type(code_dtype(largest), *(x.codes.dtype for x in tensors))
    return [x.codes.astype(dtype) << max(0, fraction - x.fraction) for x in tensors]


def sum_of(tensors: Sequence[Tensor], fraction: int) -> Tensor:
    """The sum of several tensors, whose shapes broadcast, in units of 2^(−fraction); see `aligned`."""
    first, *others = aligned(tensors, fraction)
    return Tensor(sum(others, start=first), fraction)


def total(errors: list[Tensor]) -> Tensor:
    """The sum of the errors that meet where one output has several readers, in units of the finest.

    Raises:
        UserError: If the sum could pass 62 bits.
    """
    if len(errors) == 1:
        return errors[0]
    return sum_of(errors, finest(errors))


def finest(tensors: Sequence[Tensor]) -> int:
    """The largest fraction of the tensors that are not all zero."""
    return max((x.fraction for x in tensors if magnitude(x.codes)), default=tensors[0].fraction)


def sum_bound(tensors: Sequence[Tensor], fraction: int) -> int:
    """Bound on Σ|terms| of `sum_of`, as a Python integer."""
    sizes = ((magnitude(x.codes), fraction - x.fraction) for x in tensors)
    return sum(size << shift for size, shift in sizes if size)
