"""WAGE's operators on integers: rounding shifts, Shift(max), Q_A, Q_E, Q_G and the counter-based random numbers.

An array of codes c with f fraction bits stands for the values c·2^(−f); dividing by a power of two is a change of f.
Every function here takes and returns NumPy arrays of integer dtype, or Python integers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wage_tf.errors import UserError

_GOLDEN = 0x9E3779B9
_WORD = 2**32
_LARGEST_SHIFT = 63
_BLOCK = 2**13
LARGEST_LOG2_ETA = 30


def largest_code(width: int) -> int:
    """Largest code of a k-bit grid, 2^(k−1) − 1; 1 for the binary grid {−1, 1} of k = 1."""
    return 1 if width == 1 else 2 ** (width - 1) - 1


def fraction_bits(width: int) -> int:
    """Fraction bits of a k-bit grid: σ(k) = 2^(1−k), so k − 1."""
    return width - 1


def code_dtype(largest: int) -> np.dtype:
    """The narrowest of int8, int16, int32 and int64 that holds ±`largest`.

    Raises:
        UserError: If none does.
    """
    for dtype in (np.int8, np.int16, np.int32, np.int64):
        if largest <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    raise UserError(f"integers: sums of up to {largest} pass 64 bits")


def blocks(size: int) -> Iterator[slice]:
    """Consecutive parts of `size` elements, each a multiple of 8 but the last, so small that temporaries are too."""
    return (slice(start, min(start + _BLOCK, size)) for start in range(0, size, _BLOCK))


def magnitude(x: np.ndarray) -> int:
    """max|x| as a Python integer; 0 for an empty array."""
    return max(int(x.max()), -int(x.min())) if x.size else 0


def round_shift(x: np.ndarray, shift: int) -> np.ndarray:
    """x / 2^shift rounded to the nearest integer, half to even; a negative `shift` multiplies.

    |  x | shift | result |
    | -- | ----- | ------ |
    |  5 |   1   |   2    |  (2.5: a tie goes to the even neighbour)
    |  7 |   1   |   4    |
    | −5 |   1   |  −2    |
    |  7 |   2   |   2    |
    |  7 |  −1   |  14    |

    Args:
        x: Integer array.
        shift: Bits, −62 to 62.

    Returns:
        int64 array of the same shape.
    """
    x = x.astype(np.int64)
    if shift <= 0:
        return x << -shift
    return (x + (2 ** (shift - 1) - 1) + ((x >> shift) & 1)) >> shift


def quantize(x: np.ndarray, fraction: int, width: int) -> np.ndarray:
    """Q(x, k): codes with `fraction` fraction bits to codes of the k-bit grid, rounded half to even and clipped.

    For k = 1 it is the sign, with Q(0, 1) = 1.
    """
    limit = largest_code(width)
    dtype = code_dtype(limit)
    if width == 1:
        return np.where(x >= 0, dtype.type(1), dtype.type(-1))
    flat, codes = x.reshape(-1), np.empty(x.size, dtype)
    for block in blocks(x.size):
        codes[block] = np.clip(round_shift(flat[block], fraction - fraction_bits(width)), -limit, limit)
    return codes.reshape(x.shape)


def saturated(x: np.ndarray, fraction: int, width: int) -> np.ndarray:
    """Q_A's mask: True where |x| > 1 − σ(k), compared exactly; `x` has `fraction` fraction bits."""
    shift = fraction - fraction_bits(width)
    limit = largest_code(width)
    if shift < 0:
        return np.abs(x.astype(np.int64)) << -shift > limit
    return np.abs(x.astype(np.int64)) > limit << shift


def shift_exponent(largest: int) -> int:
    """p of Shift(m) = 2^p, the power of two nearest to m > 0 on a log scale.

    With 2^p ≤ m < 2^(p+1) the threshold is the mantissa √2, m > √2·2^p, which in integers is m² > 2^(2p+1).
    """
    p = largest.bit_length() - 1
    return p + (largest * largest > 2 ** (2 * p + 1))


def quantize_error(e: np.ndarray, width: int) -> tuple[np.ndarray, int]:
    """Q_E: the codes of Q(e / Shift(max|e|), k) on the k-bit grid, and log2 Shift; zeros stay zeros, with 0.

    Shift is in units of the codes `e`, whose fraction bits do not matter to the result's codes.
    """
    largest = magnitude(e)
    if largest == 0:
        return np.zeros(e.shape, code_dtype(largest_code(width))), 0
    log2_shift = shift_exponent(largest)
    return quantize(e, log2_shift, width), log2_shift


def quantize_gradient(g: np.ndarray, log2_eta: int, seed: tuple[int, int], random_width: int = 16) -> np.ndarray:
    """Q_G: sgn(g)·(⌊|g_s|⌋ + Bernoulli(frac|g_s|)) with g_s = η·g / Shift(max|g|), in steps of σ(k_G).

    With s = log2(Shift / η), |g_s| = |g| / 2^s has the floor |g| >> s and the fraction (|g| mod 2^s) / 2^s; the draw
    r < fraction·2^n of a random n-bit integer r compares it with (|g| mod 2^s)·2^(n−s), rounded up.

    Args:
        g: Gradient sums, integer array of any fraction.
        log2_eta: log2 of the learning rate η, at most `LARGEST_LOG2_ETA`.
        seed: Two words for `random_bits`.
        random_width: n.

    Returns:
        int64 array of update steps, zeros for a gradient of zeros.
    """
    largest = magnitude(g)
    if largest == 0:
        return np.zeros(g.shape, np.int64)
    shift = shift_exponent(largest) - log2_eta
    size = np.abs(g.astype(np.int64))
    if shift <= 0:
        return np.sign(g).astype(np.int64) * (size << -shift)
    whole = min(shift, _LARGEST_SHIFT)
    floor = size >> whole
    rest = size & (2**whole - 1)
    excess = shift - random_width
    bound = -(-rest >> min(excess, _LARGEST_SHIFT)) if excess > 0 else rest << -excess
    carry = random_bits(g.shape, seed, random_width) < bound
    return np.sign(g).astype(np.int64) * (floor + carry)


def update_seed(seed: int, variable: int, step: int) -> tuple[int, int]:
    """Seed words of one variable's stochastic rounding at one step, as IntegerSGD forms them."""
    return (seed + _GOLDEN * variable) % _WORD, step % _WORD


def random_bits(shape: tuple[int, ...], seed: tuple[int, int], width: int = 16) -> np.ndarray:
    """Uniform random integers in [0, 2^width), the generator of `wage_tf.ops.random_bits`.

    With the seed words s0, s1 and an element's row-major index i, all modulo 2^32:
    word(i) = mix(mix(i ⊕ mix(s0)) ⊕ mix(s1 ⊕ 0x9E3779B9)), r(i) = word(i) >> (32 − width).

    Returns:
        int64 array of `shape`.
    """
    words = np.array([seed[0] % _WORD, (seed[1] % _WORD) ^ _GOLDEN], np.uint32)
    keys = _mix(words)
    index = np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.uint32)
    word = _mix(_mix(index ^ keys[0]) ^ keys[1]) >> (32 - width)
    return word.astype(np.int64).reshape(shape)


def _mix(h: np.ndarray) -> np.ndarray:
    h = (h ^ (h >> 16)) * np.uint32(0x7FEB352D)
    h = (h ^ (h >> 15)) * np.uint32(0x846CA68B)
    return h ^ (h >> 16)
