"""Pure functions of WAGE's arithmetic on float32 tensors: step size, shift, quantize, clip, stochastic rounding.

Every value they return is an integer times a power of two, held exactly in float32. They are written in plain
TensorFlow operations and give the same bits eagerly, in a graph and under XLA. NaN stays NaN; float32 subnormals
are outside the domain (TensorFlow's kernels flush them to zero).
"""

from __future__ import annotations

import functools

import tensorflow as tf

_SIGN_MASK = 0x7FFFFFFF
_EXPONENT_MASK = 0x7F800000
_LARGEST_POWER = 0x7F000000
# The float32 values below sqrt(2) have mantissas up to 0x3504F3; adding this carries the others into the exponent.
_ROUND_AT_SQRT2 = 0x00800000 - 0x3504F4


def step_size(k: int) -> float:
    """Distance between two neighbouring values of a k-bit grid: σ(k) = 2^(1−k) (paper, eq. 5).

    Args:
        k: Bit width, at least 1.

    Raises:
        ValueError: If `k` is not a positive integer.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"k: a bit width is an integer of at least 1; received {k!r}")
    return 2.0 ** (1 - k)


def largest_value(k: int) -> float:
    """Largest value of a k-bit grid: 1 − σ(k), and 1 for the binary grid {−1, 1} of k = 1."""
    return 1.0 if k == 1 else 1.0 - step_size(k)


def clip(x: tf.Tensor, k: int) -> tf.Tensor:
    """Clips to the range of the k-bit grid, ±(1 − σ(k)); ±1 for k = 1.

    Args:
        x: Float32 tensor of any shape.
        k: Bit width.
    """
    limit = largest_value(k)
    return tf.clip_by_value(tf.convert_to_tensor(x, tf.float32), -limit, limit)


def quantize(x: tf.Tensor, k: int) -> tf.Tensor:
    """Rounds to the nearest value of the k-bit grid, half to even, and clips (paper, eq. 6).

    Q(x, k) = clip(σ·round(x/σ), −1 + σ, 1 − σ) with σ = σ(k). For k = 1 the grid is {−1, 1}: the sign, Q(0, 1) = 1.

    |   x    | Q(x, 2) | Q(x, 3) |
    | ------ | ------- | ------- |
    | ±0.25  |  0      | ±0.25   |  (a tie goes to the even code)
    | ±0.75  | ±0.5    | ±0.75   |  (1.5 steps round to 2, which is clipped)
    | ±0.375 | ±0.5    | ±0.5    |
    | ±inf   | ±0.5    | ±0.75   |
    |  NaN   |  NaN    |  NaN    |

    Args:
        x: Float32 tensor of any shape.
        k: Bit width.

    Returns:
        Float32 tensor of the same shape; integer codes are the result divided by σ(k).

    Raises:
        ValueError: If `k` is not a positive integer, or `x` a tensor of another type.
    """
    x, sigma = as_float32(x, "x"), step_size(k)
    if k == 1:
        return tf.where(x >= 0, 1.0, tf.where(x < 0, -1.0, x))
    largest_code = 2.0 ** (k - 1) - 1.0
    return tf.clip_by_value(tf.round(x * (1.0 / sigma)), -largest_code, largest_code) * sigma


def shift(x: tf.Tensor) -> tf.Tensor:
    """The power of two nearest on a log scale: Shift(x) = 2^round(log2 x) (paper, eq. 7).

    Read off the exponent and mantissa bits of the float, so it is exact: a mantissa above √2 rounds up.
    Shift(0) = 0 (not covered by the paper); +inf and NaN give themselves; a negative x gives NaN.
    The result saturates at 2^127, the largest power of two in float32.

    Args:
        x: Float32 tensor of any shape, not negative.
    """
    x = tf.convert_to_tensor(x, tf.float32)
    bits = tf.bitcast(x, tf.int32)
    power = tf.bitwise.bitwise_and(bits + _ROUND_AT_SQRT2, _EXPONENT_MASK)
    power = tf.bitcast(tf.where(bits >= _LARGEST_POWER, _LARGEST_POWER, power), tf.float32)
    power = tf.where(tf.bitwise.bitwise_and(bits, _EXPONENT_MASK) == 0, tf.zeros_like(power), power)
    power = tf.where(tf.math.is_finite(x), power, x)
    return tf.where(x < 0, tf.constant(float("nan"), tf.float32), power)


def max_magnitude(x: tf.Tensor) -> tf.Tensor:
    """Returns max|x| over the whole tensor, a scalar; NaN if any element is NaN, 0 for an empty tensor.

    The maximum is taken over the bit patterns of |x|, whose integer order is that of the floats with NaN on top;
    a float maximum may drop NaN under XLA. First it is taken elementwise over the tensor's eighths, which XLA fuses
    with what computes x: a reduction to a scalar it does not.
    """
    bits = tf.reshape(tf.bitcast(tf.convert_to_tensor(x, tf.float32), tf.int32), [-1])
    eighths = tf.reshape(tf.pad(bits, [[0, -tf.size(bits) % 8]]), [8, -1])
    magnitude_bits = [tf.bitwise.bitwise_and(eighth, _SIGN_MASK) for eighth in tf.unstack(eighths)]
    return tf.bitcast(tf.maximum(tf.reduce_max(functools.reduce(tf.maximum, magnitude_bits)), 0), tf.float32)


def scale_by_shift(x: tf.Tensor) -> tf.Tensor:
    """Scales a tensor into about [−√2, √2]: x / Shift(max|x|); a zero tensor stays zero.

    Args:
        x: Float32 tensor of any shape.
    """
    return x / _scale(max_magnitude(x))


def quantize_by_shift(x: tf.Tensor, k: int, magnitude: tf.Tensor | None = None, gamma: float = 1.0) -> tf.Tensor:
    """Rounds to the k-bit grid stretched by the tensor's own power of two: s·Q(x / s, k) with s = Shift(max|x|)/γ.

    A zero tensor stays zero. The stretched step σ(k)·Shift must be a normal number: a maximum of 2^(k−127) at least.

    Args:
        x: Float32 tensor of any shape.
        k: Bit width.
        magnitude: max|x| where `x` is one part of a larger tensor, the maximum over the whole; None takes it of `x`.
        gamma: γ, a power of two: from 2 on, the largest values are clipped and small ones rounded more finely.
    """
    scale = _scale(max_magnitude(x) if magnitude is None else magnitude) / gamma
    return quantize(x / scale, k) * scale


def random_bits(shape: tf.Tensor, seed: tf.Tensor, width: int = 16) -> tf.Tensor:
    """Uniform random integers in [0, 2^width) from a counter-based generator, in 32-bit integer arithmetic.

    With the two seed words s0, s1 and an element's row-major index i (all modulo 2^32):

        word(i) = mix(mix(i ⊕ mix(s0)) ⊕ mix(s1 ⊕ 0x9E3779B9)),    r(i) = word(i) >> (32 − width)
        mix(h):  h ^= h >> 16;  h *= 0x7FEB352D;  h ^= h >> 15;  h *= 0x846CA68B;  h ^= h >> 16

    No state: the same seed gives the same numbers on every device, and a line of NumPy or C repeats them.

    Args:
        shape: Shape of the result.
        seed: A pair of integers or an int32 tensor of two.
        width: Bits of each integer, 1 to 24.

    Returns:
        Float32 tensor of integers, exact.

    Raises:
        ValueError: If `width` is out of range.

    References:
        The mixing function is lowbias32 of C. Wellons, "Prospecting for Hash Functions" (2018), public domain.
    """
    check_random_width(width)
    key = tf.bitcast(as_seed(seed), tf.uint32)
    index = tf.reshape(tf.cast(tf.range(tf.reduce_prod(shape)), tf.uint32), shape)
    word = _mix(tf.bitwise.bitwise_xor(index, _mix(key[0])))
    word = _mix(tf.bitwise.bitwise_xor(word, _mix(tf.bitwise.bitwise_xor(key[1], _uint32(0x9E3779B9)))))
    return tf.cast(tf.bitwise.right_shift(word, _uint32(32 - width)), tf.float32)


def stochastic_round(x: tf.Tensor, seed: tf.Tensor, random_width: int = 16) -> tf.Tensor:
    """Rounds to an integer, up with the probability of the fraction: sgn(x)·(⌊|x|⌋ + Bernoulli(frac|x|)).

    The Bernoulli draw is r < frac|x|·2^n with r a random n-bit integer (`random_bits`), so it can be done in integers.

    Args:
        x: Float32 tensor of any shape.
        seed: A pair of integers or an int32 tensor of two.
        random_width: n, bits of the random integers; 16 in the paper.

    Returns:
        Float32 tensor of integers.
    """
    x = tf.convert_to_tensor(x, tf.float32)
    magnitude = tf.abs(x)
    floor = tf.floor(magnitude)
    threshold = (magnitude - floor) * 2.0**random_width
    carry = tf.cast(random_bits(tf.shape(x), seed, random_width) < threshold, tf.float32)
    rounded = floor + carry
    return tf.where(x < 0, -rounded, rounded)


def as_float32(values: tf.Tensor, name: str) -> tf.Tensor:
    """Returns numbers of Python or NumPy, or a float32 tensor, as a float32 tensor.

    Args:
        values: The numbers.
        name: What an error calls them.

    Raises:
        ValueError: If `values` is a tensor of another type, which TensorFlow does not convert unasked.
    """
    try:
        return tf.convert_to_tensor(values, tf.float32)
    except ValueError:
        if not hasattr(values, "dtype"):
            raise
        raise ValueError(f"{name}: a float32 tensor is wanted; received {tf.as_dtype(values.dtype).name}") from None


def as_seed(seed: tf.Tensor) -> tf.Tensor:
    """Returns a seed pair as an int32 tensor of two; Python integers are taken modulo 2^32.

    Raises:
        ValueError: If `seed` is not a pair.
    """
    if isinstance(seed, (tuple, list)) and all(isinstance(word, int) for word in seed):
        seed = [(word + 2**31) % 2**32 - 2**31 for word in seed]
    seed = tf.convert_to_tensor(seed, tf.int32)
    if seed.shape != (2,):
        raise ValueError(f"seed: a pair of integers or an int32 tensor of two; received shape {seed.shape}")
    return seed


def check_random_width(width: int) -> int:
    """Returns the width of random integers if it is one: 1 to 24 bits, which float32 holds exactly.

    Raises:
        ValueError: If it is not.
    """
    if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= 24:
        raise ValueError(f"width: random integers have 1 to 24 bits; received {width!r}")
    return width


def _scale(magnitude: tf.Tensor) -> tf.Tensor:
    """Shift(m), and 1 for m = 0."""
    scale = shift(magnitude)
    return tf.where(scale == 0, 1.0, scale)


def _uint32(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint32)


def _mix(h: tf.Tensor) -> tf.Tensor:
    h = tf.bitwise.bitwise_xor(h, tf.bitwise.right_shift(h, _uint32(16))) * _uint32(0x7FEB352D)
    h = tf.bitwise.bitwise_xor(h, tf.bitwise.right_shift(h, _uint32(15))) * _uint32(0x846CA68B)
    return tf.bitwise.bitwise_xor(h, tf.bitwise.right_shift(h, _uint32(16)))
