"""What training changes: the kernels and biases of nodes, with the update that IntegerSGD makes."""

from __future__ import annotations

import dataclasses

import numpy as np

from wage_tf.errors import UserError
from wage_tf.integer.arithmetic import (
    blocks,
    code_dtype,
    fraction_bits,
    magnitude,
    quantize,
    quantize_gradient,
    update_seed,
)
from wage_tf.integer.nodes.base import check_codes, check_width, is_int, require
from wage_tf.integer.tensors import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """The weights of a convolution or a matrix product.

    Attributes:
        codes: Q(W, k_W) as integers in [−(2^(k_W−1)−1), 2^(k_W−1)−1], ±1 for k_W = 1; int8 or int16, units last.
        width: k_W.
        alpha: log2 of the layer's constant α.
        gradient_width: k_G, or None where the gradient is float32 (no integer training).
        accumulators: The stored weights W in units of 2^(−fraction), shape of `codes`; None in a model that is
            for inference only.
        fraction: Fraction bits of the accumulators, at least k_G − 1 and k_W − 1.
        limit: The clip after an update, in the accumulators' units.
        variable: Index of the kernel among the optimizer's variables, part of the random numbers' seed; None where
            the layer is frozen, so that training leaves it as it is.
    """

    codes: np.ndarray
    width: int
    alpha: int
    gradient_width: int | None
    accumulators: np.ndarray | None
    fraction: int
    limit: int
    variable: int | None

    @property
    def log2_scale(self) -> int:
        """Fraction bits of the weights of the forward pass, Q(W, k_W)/α = codes·2^(1−k_W)/α."""
        return fraction_bits(self.width) + self.alpha

    def check(self) -> None:
        """Checks that the fields fit together.

        Raises:
            UserError: If they do not.
        """
        check_width(self.width, 1)
        require(is_int(self.alpha, -62, 62), f"log2 alpha is an integer; received {self.alpha!r}")
        check_codes(self.codes, self.codes.shape, self.width)
        require(self.codes.size > 0, "a kernel has at least one weight")
        check_trainable(self)
        if self.accumulators is not None:
            require(self._quantizes(self.accumulators), "the codes are not the accumulators' quantized values")

    def _quantizes(self, accumulators: np.ndarray) -> bool:
        stored, codes = accumulators.reshape(-1), self.codes.reshape(-1)
        return all(
            np.array_equal(quantize(stored[block], self.fraction, self.width), codes[block])
            for block in blocks(codes.size)
        )

    def updated(self, gradient: Tensor, log2_eta: int, seed: int, step: int, random_width: int) -> Kernel:
        """W ← clip(W − Q_G(g))."""
        accumulators = updated_accumulators(self, gradient, log2_eta, seed, step, random_width)
        codes = quantize(accumulators, self.fraction, self.width)
        return dataclasses.replace(self, accumulators=accumulators, codes=codes)


@dataclasses.dataclass(frozen=True, eq=False)
class Bias:
    """What a convolution or a matrix product adds to its sums, one number a unit.

    Attributes:
        codes: The numbers that are added, in units of 2^(−fraction); [units], of the narrowest dtype for `limit`.
        gradient_width: k_G, or None where the gradient is float32 (no integer training).
        fraction: Fraction bits of the codes, at least k_G − 1.
        limit: The clip after an update, in units of the codes.
        variable: See `Kernel`.
        is_stored: Whether the codes are the stored bias itself, from which training goes on, and not rounded from it.
    """

    codes: np.ndarray
    gradient_width: int | None
    fraction: int
    limit: int
    variable: int | None
    is_stored: bool

    @property
    def accumulators(self) -> np.ndarray | None:
        """The stored bias, which is the codes; None in a model that is for inference only."""
        return self.codes if self.is_stored else None

    @property
    def tensor(self) -> Tensor:
        """The numbers that are added."""
        return Tensor(self.codes, self.fraction)

    def check(self, shape: tuple[int, ...]) -> None:
        """Checks that the fields fit together and the layer's units.

        Raises:
            UserError: If they do not.
        """
        require(self.codes.shape == shape, f"a bias {self.codes.shape} does not fit {shape} units")
        require(is_int(self.fraction, 0, 30), f"fraction is an integer; received {self.fraction!r}")
        require(isinstance(self.is_stored, bool), "is_stored is true or false")
        check_trainable(self)
        dtype = code_dtype(self.limit)
        require(self.codes.dtype == dtype, f"a bias of up to {self.limit} is {dtype}; received {self.codes.dtype}")
        require(magnitude(self.codes) <= self.limit, f"a bias lies in ±{self.limit}")

    def updated(self, gradient: Tensor, log2_eta: int, seed: int, step: int, random_width: int) -> Bias:
        """b ← clip(b − Q_G(g))."""
        codes = updated_accumulators(self, gradient, log2_eta, seed, step, random_width)
        return dataclasses.replace(self, codes=codes)


def check_trainable(parameter: Kernel | Bias) -> None:
    """Checks what training needs of a parameter.

    Raises:
        UserError: If a field is out of range.
    """
    if parameter.variable is not None:
        require(is_int(parameter.variable, 0, 2**32 - 1), f"variable is an index; received {parameter.variable!r}")
    if parameter.gradient_width is not None:
        check_width(parameter.gradient_width, 2)
    require(is_int(parameter.limit, 1, 2**31 - 1), f"the clip is a positive integer; received {parameter.limit!r}")
    if parameter.accumulators is None:
        return
    smallest = fraction_bits(parameter.gradient_width or 1)
    require(is_int(parameter.fraction, smallest, 30), "fraction bits out of range")
    require(parameter.accumulators.shape == parameter.codes.shape, "accumulators and codes differ in shape")
    require(magnitude(parameter.accumulators) <= parameter.limit, "accumulators beyond their clip")


def updated_accumulators(
    parameter: Kernel | Bias, gradient: Tensor, log2_eta: int, seed: int, step: int, random_width: int
) -> np.ndarray:
    """Stored values after clip(W − Q_G(g)).

    Raises:
        UserError: If there are none.
    """
    if parameter.accumulators is None or parameter.variable is None or parameter.gradient_width is None:
        raise UserError("no accumulators: this graph is for inference only")
    words = update_seed(seed, parameter.variable, step)
    delta = quantize_gradient(gradient.codes, log2_eta, words, random_width)
    delta <<= parameter.fraction - fraction_bits(parameter.gradient_width)
    clipped = np.clip(parameter.accumulators - delta, -parameter.limit, parameter.limit)
    return clipped.astype(code_dtype(parameter.limit))
