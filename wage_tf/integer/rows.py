"""What a comparison of a Keras model with its integer graph found: rows of a table, and where float32 was not exact."""

from __future__ import annotations

import dataclasses

import numpy as np

from wage_tf.integer.arithmetic import magnitude


@dataclasses.dataclass
class Row:
    """One operand of one layer: its width, the codes met, the bits its sums needed, and whether all were equal.

    Sums are those of the products that the operand enters: forward for W, backward for E, over the batch for G.
    `explained` says whether float32 accounts for every difference: the sums could pass 2^24, or what they are made of
    differed already.
    """

    layer: str
    operand: str
    width: int
    low: int = 0
    high: int = 0
    sums: int = 0
    codes_equal: bool = True
    sums_equal: bool = True
    explained: bool = True

    @property
    def equal(self) -> bool:
        """Whether codes and sums were equal."""
        return self.codes_equal and self.sums_equal

    def meet(self, codes: np.ndarray, equal: bool, inexact: bool = False) -> None:
        """Widens the range by an array of codes."""
        self.low, self.high = min(self.low, int(codes.min())), max(self.high, int(codes.max()))
        self.codes_equal = self.codes_equal and equal
        self.explained = self.explained and (equal or inexact)

    def meet_sums(self, sums: np.ndarray, equal: bool, inexact: bool) -> None:
        """Widens the range of the sums."""
        self.sums = max(self.sums, magnitude(sums))
        self.sums_equal = self.sums_equal and equal
        self.explained = self.explained and (equal or inexact)


@dataclasses.dataclass
class Exactness:
    """How often float32 could not hold the sums of one product.

    Attributes:
        batches: Batches compared.
        past: Those in which a float32 sum could pass 2^24.
        differed: Those in which Keras' sums were others than the integers.
    """

    batches: int = 0
    past: int = 0
    differed: int = 0


@dataclasses.dataclass
class Steps:
    """What training side by side showed.

    Attributes:
        done: Steps.
        every_code: Those in which every code was compared; in the others the stored weights after them.
        differing: Steps after which a stored weight differed.
        sizes: Numbers of images that the batches held.
    """

    done: int = 0
    every_code: int = 0
    differing: int = 0
    sizes: set[int] = dataclasses.field(default_factory=set)
