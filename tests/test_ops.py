import re
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given

import oracle
from support import tensors
from support.tensors import assert_equal, assert_same_bits
from wage_tf import ops

WIDTHS = range(1, 17)
NAN, INF = float("nan"), float("inf")


def from_bits(*patterns):
    return np.array(patterns, np.uint32).view(np.float32)


@pytest.mark.parametrize(
    ("k", "step", "largest"),
    [(1, 1.0, 1.0), (2, 0.5, 0.5), (3, 0.25, 0.75), (8, 1 / 128, 127 / 128), (16, 2.0**-15, 1 - 2.0**-15)],
)
def test_step_size_and_largest_value(k, step, largest):
    assert (ops.step_size(k), ops.largest_value(k)) == (step, largest)


@pytest.mark.parametrize("k", [0, -1, -3, 2.0, True, None, "2"])
def test_what_is_no_width_is_refused(k):
    for call in (ops.step_size, lambda k: ops.quantize([0.5], k)):
        with pytest.raises(ValueError, match=f"k: a bit width.* received {re.escape(repr(k))}"):
            call(k)


# Quantize: the rows of the docstring's table, then the rest of the edges.
@pytest.mark.parametrize(
    ("x", "k2", "k3"),
    [
        (0.25, 0.0, 0.25),
        (-0.25, 0.0, -0.25),
        (0.75, 0.5, 0.75),
        (-0.75, -0.5, -0.75),
        (0.375, 0.5, 0.5),
        (-0.375, -0.5, -0.5),
        (INF, 0.5, 0.75),
        (-INF, -0.5, -0.75),
        (NAN, NAN, NAN),
        (0.0, 0.0, 0.0),
        (0.125, 0.0, 0.0),
        (0.625, 0.5, 0.5),
        (0.875, 0.5, 0.75),
        (1.0, 0.5, 0.75),
        (3.4e38, 0.5, 0.75),
        (float(np.nextafter(np.float32(0.25), np.float32(1))), 0.5, 0.25),
        (float(np.nextafter(np.float32(0.25), np.float32(0))), 0.0, 0.25),
    ],
)
def test_quantize_table(x, k2, k3):
    assert_equal(ops.quantize([x], 2), [k2])
    assert_equal(ops.quantize([x], 3), [k3])


@pytest.mark.parametrize(
    ("x", "expected"),
    [(0.0, 1.0), (-0.0, 1.0), (1e-6, 1.0), (-1e-6, -1.0), (INF, 1.0), (-INF, -1.0), (5.0, 1.0), (NAN, NAN)],
)
def test_quantize_binary(x, expected):
    assert_equal(ops.quantize([x], 1), [expected])


@pytest.mark.parametrize("k", range(2, 17))
def test_ties_go_to_the_even_code(k):
    sigma = ops.step_size(k)
    codes = np.arange(-(2 ** (k - 1)) + 1, 2 ** (k - 1) - 1)[:: max(1, 2 ** (k - 1) // 500)]
    rounded = np.asarray(ops.quantize(((codes + 0.5) * sigma).astype(np.float32), k)) / sigma
    assert np.all(rounded % 2 == 0) or k == 2
    assert_equal(rounded, np.clip(np.where(codes % 2 == 0, codes, codes + 1), codes[0], 2 ** (k - 1) - 1))


@given(st.data(), tensors.widths)
def test_quantize_equals_the_oracle(data, k):
    x = data.draw(tensors.arrays(tensors.any_floats(k)))
    assert_equal(ops.quantize(x, k), oracle.quantize(x, k))


@given(st.data(), tensors.widths)
def test_quantize_properties(data, k):
    x = data.draw(tensors.arrays(tensors.any_floats(k), shape=24))
    q = np.asarray(ops.quantize(x, k), np.float64)
    sigma, largest = ops.step_size(k), ops.largest_value(k)
    codes = q / sigma
    assert np.all(codes == np.rint(codes))
    assert np.all(np.abs(q) <= largest)
    assert_equal(ops.quantize(q.astype(np.float32), k), q)
    order = np.argsort(x)
    assert np.all(np.diff(q[order]) >= 0)
    if k >= 2:
        inside = np.abs(x) <= largest
        assert np.all(np.abs(q - x)[inside] <= sigma / 2)
        assert_equal(ops.quantize(-x, k), -q)
    else:
        assert set(np.abs(q)) == {1.0}


@given(st.data(), tensors.widths)
def test_clip(data, k):
    x = data.draw(tensors.arrays(tensors.any_floats(k)))
    bound = 1.0 if k == 1 else 1 - 2.0 ** (1 - k)
    assert_same_bits(ops.clip(x, k), np.minimum(np.maximum(x, np.float32(-bound)), np.float32(bound)))


def test_clip_edges():
    assert_equal(ops.clip([NAN, INF, -INF, 0.5, -0.75], 2), [NAN, 0.5, -0.5, 0.5, -0.5])
    assert_equal(ops.clip([1.0, -7.0], 8), [127 / 128, -127 / 128])


# Shift.
@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (1.0, 1.0),
        (1.25, 1.0),
        (1.5, 2.0),
        (3.0, 4.0),
        (5.0, 4.0),
        (6.0, 8.0),
        (0.7, 0.5),
        (0.0, 0.0),
        (-0.0, 0.0),
        (INF, INF),
        (NAN, NAN),
        (-1.0, NAN),
        (-INF, NAN),
        (3.4e38, 2.0**127),
        (2.0**127, 2.0**127),
        (2.0**126 * 1.5, 2.0**127),
        (2.0**-126, 2.0**-126),
        (2.0**-126 * 1.5, 2.0**-125),
    ],
)
def test_shift_table(x, expected):
    assert_equal(ops.shift(x), expected)


def test_shift_threshold_is_the_mantissa_of_sqrt_2():
    assert_equal(ops.shift(from_bits(0x3FB504F3, 0x3FB504F4)), [1.0, 2.0])
    for exponent in (-126, -60, -1, 1, 60, 126):
        scaled = from_bits(0x3FB504F3, 0x3FB504F4) * np.float32(2.0) ** exponent
        assert_equal(ops.shift(scaled), [2.0**exponent, 2.0 ** (exponent + 1)])


def test_shift_exact_powers():
    powers = np.ldexp(np.float32(1), np.arange(-126, 128)).astype(np.float32)
    assert_same_bits(ops.shift(powers), powers)


def test_shift_of_subnormals_is_zero():
    assert_equal(ops.shift(from_bits(1, 0x400000, 0x7FFFFF)), [0, 0, 0])


@given(tensors.arrays(st.floats(2.0**-126, 2.0**126, width=32)))
def test_shift_equals_the_oracle(x):
    assert_equal(ops.shift(x), np.vectorize(oracle.shift, otypes=[float])(x))


@given(st.floats(2.0**-126, 2.0**126, width=32))
def test_shift_is_within_half_an_octave(x):
    power = float(ops.shift(x))
    assert np.frexp(power)[0] == 0.5
    assert Fraction(1, 2) < (Fraction(x) / Fraction(power)) ** 2 < 2


def test_max_magnitude():
    assert float(ops.max_magnitude([[1.0, -3.0], [2.0, 0.0]])) == 3.0
    assert np.isnan(float(ops.max_magnitude([1.0, NAN, INF])))
    assert np.isnan(float(ops.max_magnitude([1.0, -NAN])))
    assert float(ops.max_magnitude([1.0, -INF])) == INF
    assert float(ops.max_magnitude(np.zeros((0, 3), np.float32))) == 0.0
    assert float(ops.max_magnitude(-5.0)) == 5.0


@pytest.mark.parametrize("value", [-2.0, 3.0, NAN, -INF])
@pytest.mark.parametrize("size", [1, 7, 8, 9, 17, 24])
def test_max_magnitude_is_found_wherever_it_is(size, value):
    for place in range(size):
        x = np.full(size, 0.5, np.float32)
        x[place] = value
        assert_equal(ops.max_magnitude(x), abs(value))


@given(tensors.scaled_arrays((3, 4)))
def test_scale_by_shift(x):
    scaled = np.asarray(ops.scale_by_shift(x))
    assert_equal(scaled, oracle.scale_by_shift(x))
    if np.any(x):
        assert 0.7 < np.max(np.abs(scaled)) < 1.42
    else:
        assert not np.any(scaled)


# Eager, graph and XLA give the same bits.
def spread_values(shape, seed, exponent):
    numbers = np.random.default_rng(seed)
    x = (numbers.standard_normal(shape) * 2.0**exponent).astype(np.float32)
    flat = x.reshape(-1)
    edges = [0.0, 0.25, -0.25, 0.5, -0.5, 0.75, 1.5, -1.5, 127 / 128, 255 / 256, -257 / 256, INF, -INF, NAN, -0.0]
    flat[: len(edges)] = edges[: flat.size]
    return x


def in_three_modes(function, *inputs):
    (results,) = in_three_modes_over(function, [inputs])
    return results


def in_three_modes_over(function, many_inputs):
    """For each of the inputs the results of eager, graph and XLA; both functions are compiled once."""
    graph = tf.function(function, autograph=False)
    compiled = tf.function(function, jit_compile=True, autograph=False)
    for inputs in many_inputs:
        inputs = [tf.constant(x) for x in inputs]
        yield function(*inputs), graph(*inputs), compiled(*inputs)


def assert_modes_agree(function, many_inputs):
    for eager, graph, xla in in_three_modes_over(function, many_inputs):
        for a, b, c in zip(eager, graph, xla, strict=True):
            assert_same_bits(b, a)
            assert_same_bits(c, a)


@pytest.mark.parametrize("shape", [(1,), (64,), (7, 9), (2, 3, 5, 4)])
def test_elementwise_functions_agree_in_all_modes(shape):
    def everything(x):
        results = [f(x, k) for k in WIDTHS for f in (ops.quantize, ops.clip)]
        return [*results, ops.shift(x), ops.shift(tf.abs(x))]

    assert_modes_agree(everything, [[spread_values(shape, 1, exponent)] for exponent in (-8, 0, 20)])


@pytest.mark.parametrize("shape", [(1,), (64,), (33, 31)])
def test_scaled_functions_agree_in_all_modes(shape):
    inputs = []
    for exponent in (-100, -8, 0, 20, 120):
        x = np.nan_to_num(spread_values(shape, 2, exponent), nan=1.0, posinf=2.0, neginf=-2.0)
        x += 0.0  # no negative zeros, they have a test of their own
        inputs.append([x, np.array([5, -7], np.int32)])

    def everything(x, seed):
        scaled = ops.scale_by_shift(x)
        rounded = [ops.stochastic_round(scaled * eta, seed, n) for eta, n in ((8.0, 16), (0.5, 16), (128.0, 8))]
        return [ops.max_magnitude(x), scaled, *rounded, ops.random_bits(tf.shape(x), seed)]

    assert_modes_agree(everything, inputs)


def test_negative_zero_has_the_same_bits_in_all_modes():
    x = np.array([-0.0, 0.0, 0.5], np.float32)
    eager, graph, xla = in_three_modes(lambda x: ops.stochastic_round(x, (1, 2)), x)
    assert_same_bits(graph, eager)
    assert_same_bits(xla, eager)


def test_nan_stays_nan_in_all_modes():
    x = np.array([0.5, NAN, 2.0], np.float32)

    def everything(x):
        seed = tf.constant([1, 2])
        return [
            *(f(x, k) for k in (1, 2, 8) for f in (ops.quantize, ops.clip)),
            ops.shift(x),
            ops.stochastic_round(x, seed),
        ], [ops.max_magnitude(x), ops.scale_by_shift(x)]

    for elementwise, whole in in_three_modes(everything, x):
        for result in elementwise:
            np.testing.assert_array_equal(np.isnan(result), [False, True, False])
        for result in whole:
            assert np.all(np.isnan(result))


# The generator and stochastic rounding.
def scalar_word(index, seed):
    """The documented definition on Python integers, one element at a time."""

    def mix(h):
        h ^= h >> 16
        h = h * 0x7FEB352D % 2**32
        h ^= h >> 15
        h = h * 0x846CA68B % 2**32
        return h ^ h >> 16

    first, second = (word % 2**32 for word in seed)
    return mix(mix(index ^ mix(first)) ^ mix(second ^ 0x9E3779B9))


@pytest.mark.parametrize("width", [1, 8, 16, 23, 24])
@pytest.mark.parametrize("seed", [(0, 0), (1, 2), (-1, -(2**31)), (2**31, 2**32 - 1), (0x9E3779B9, 3000000000)])
def test_random_bits_are_the_documented_sequence(seed, width):
    expected = [scalar_word(i, seed) >> (32 - width) for i in range(60)]
    assert_equal(ops.random_bits((60,), seed, width), expected)
    assert_equal(ops.random_bits((3, 4, 5), seed, width), np.reshape(expected, (3, 4, 5)))
    assert_equal(oracle.random_bits((60,), seed, width), expected)


@given(tensors.seed_words, tensors.seed_words, st.integers(1, 24))
def test_random_bits_equal_numpy(first, second, width):
    assert_equal(ops.random_bits((5, 7), (first, second), width), oracle.random_bits((5, 7), (first, second), width))


def test_random_bits_shapes():
    assert ops.random_bits((0,), (1, 2)).shape == (0,)
    assert ops.random_bits((4, 0, 3), (1, 2)).shape == (4, 0, 3)
    assert ops.random_bits((1, 1), (1, 2)).shape == (1, 1)
    assert ops.random_bits(tf.constant([2, 3]), (1, 2)).shape == (2, 3)
    assert ops.stochastic_round(0.5, (1, 2)).shape == ()


def test_random_bits_reject():
    for width in (0, 25, 32):
        with pytest.raises(ValueError, match=f"received {width}"):
            ops.random_bits((3,), (1, 2), width)
    for seed in ((1, 2, 3), (1,), 5):
        with pytest.raises(ValueError, match="seed: a pair"):
            ops.random_bits((3,), seed)


@pytest.mark.parametrize("seed", [(0, 0), (1, 0), (0, 1), (123, 4567), (2**32 - 1, 9)])
def test_random_bits_are_uniform(seed):
    r = np.asarray(ops.random_bits((65536,), seed, 16)).astype(np.int64)
    assert r.min() >= 0
    assert r.max() < 2**16
    for part in (r >> 8, r & 255):
        chi_square = np.sum((np.bincount(part, minlength=256) - 256.0) ** 2) / 256
        assert 150 < chi_square < 380  # 255 degrees of freedom, standard deviation 22.6
    centred = r - r.mean()
    for lag in (1, 2, 3, 16, 256):
        assert abs(np.mean(centred[lag:] * centred[:-lag]) / r.var()) < 0.02


def test_neighbouring_seeds_are_independent():
    """Steps are neighbours in the second word, variables differ in the first."""
    words = [(7, 1), (7, 2), (8, 1), (8, 2), ((7 + 0x9E3779B9) % 2**32, 1), (1, 7)]
    sequences = [np.asarray(ops.random_bits((20000,), seed)) for seed in words]
    correlation = np.corrcoef(sequences) - np.eye(len(words))
    assert np.max(np.abs(correlation)) < 0.03


@given(st.data(), tensors.seed_words, st.sampled_from([4, 8, 16, 24]))
def test_stochastic_round_equals_the_oracle(data, word, width):
    x = data.draw(tensors.arrays(st.floats(-200, 200, width=32, allow_subnormal=False)))
    rounded = np.asarray(ops.stochastic_round(x, (word, 3), width))
    assert_equal(rounded, oracle.stochastic_round(x, (word, 3), width))
    assert np.all(np.abs(rounded - x) < 1)
    assert np.all(rounded == np.rint(rounded))
    assert np.all(rounded * x >= 0)


@given(tensors.arrays(st.integers(-(2**20), 2**20).map(float)), tensors.seed_words)
def test_stochastic_round_leaves_integers(x, word):
    assert_equal(ops.stochastic_round(x, (word, 0)), x)


@pytest.mark.parametrize("x", [0.5, 0.125, 0.9, 3.3, -0.25, -2.75, 1e-3])
def test_stochastic_round_expectation(x):
    count = 200_000
    rounded = np.asarray(ops.stochastic_round(tf.fill([count], x), (11, 5)))
    assert set(np.unique(rounded)) <= {np.floor(x), np.ceil(x)}
    fraction = abs(x) % 1
    assert abs(rounded.mean() - x) < 5 * np.sqrt(fraction * (1 - fraction) / count) + 2**-16


def test_stochastic_round_carries_below_the_threshold_exactly():
    """A fraction f rounds up exactly where the random integer is below f·2^n."""
    random = np.asarray(ops.random_bits((4096,), (3, 4), 8))
    for fraction in (0.0, 1 / 256, 0.5, 255 / 256):
        rounded = ops.stochastic_round(tf.fill([4096], fraction), (3, 4), 8)
        assert_equal(rounded, random < fraction * 256)
        assert_equal(
            ops.stochastic_round(tf.fill([4096], -fraction), (3, 4), 8), -(random < fraction * 256).astype(int)
        )


def test_stochastic_round_seeds():
    x = np.random.default_rng(0).uniform(-4, 4, 500).astype(np.float32)
    first = np.asarray(ops.stochastic_round(x, (1, 1)))
    assert_same_bits(ops.stochastic_round(x, (1, 1)), first)
    assert_same_bits(ops.stochastic_round(x, tf.constant([1, 1])), first)
    for other in ((2, 1), (1, 2), (-1, 1)):
        assert np.any(np.asarray(ops.stochastic_round(x, other)) != first)


def test_the_global_seed_does_not_matter():
    tf.random.set_seed(1)
    first = ops.random_bits((50,), (1, 2))
    tf.random.set_seed(2)
    assert_same_bits(ops.random_bits((50,), (1, 2)), first)
