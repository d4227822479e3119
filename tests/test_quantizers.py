import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given

import oracle
from support import tensors
from support.tensors import assert_equal, assert_same_bits, plain_operations
from wage_tf import BitWidths, quantizers

NAN, INF = float("nan"), float("inf")
SHAPE = (3, 4)  # one shape for the property tests: each shape and width is a kernel of its own to compile
K = st.sampled_from([2, 3, 8, 16])


def forward_and_backward(function, x, upstream):
    x = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return y, tape.gradient(y, x, tf.constant(upstream, tf.float32))


def values(k):
    spread = st.builds(tensors.spread_array, st.just(SHAPE), st.integers(0, 2**32 - 1))
    return st.one_of(spread, tensors.arrays(tensors.any_floats(k), SHAPE))


# Q_W
@given(st.data(), st.sampled_from([1, 2, 8, 16]), st.sampled_from([1.0, 2.0, 16.0]))
def test_weight(data, k, alpha):
    w, upstream = data.draw(values(k)), data.draw(tensors.scaled_arrays(SHAPE))
    y, gradient = forward_and_backward(lambda w: quantizers.quantize_weight(w, k, alpha), w, upstream)
    assert_equal(y, oracle.quantize_weight(w, k, alpha))
    assert_same_bits(gradient, upstream)


def test_weight_gradient_has_neither_alpha_nor_mask():
    y, gradient = forward_and_backward(
        lambda w: quantizers.quantize_weight(w, 2, 16.0), [-9.0, -0.5, 0.1, 0.5, 3.0], [1.0, 2.0, 3.0, 4.0, 5.0]
    )
    assert_equal(y, [-1 / 32, -1 / 32, 0, 1 / 32, 1 / 32])
    assert_equal(gradient, [1, 2, 3, 4, 5])


def test_error_goes_back_through_the_quantized_weight():
    x, w = tf.constant([[1.0, 2.0]]), tf.constant([[0.4], [-0.1]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, w])
        y = x @ quantizers.quantize_weight(w, 2, 4.0)
    assert_equal(y, [[0.125]])
    assert_equal(tape.gradient(y, x), [[0.125, 0.0]])
    assert_equal(tape.gradient(y, w), [[1.0], [2.0]])


# Q_A
@given(st.data(), K)
def test_activation(data, k):
    a, upstream = data.draw(values(k)), data.draw(tensors.scaled_arrays(SHAPE))
    y, gradient = forward_and_backward(lambda a: quantizers.quantize_activation(a, k), a, upstream)
    assert_equal(y, oracle.quantize_activation(a, k))
    assert_equal(gradient, oracle.activation_backward(upstream, a, k))


def test_activation_mask_is_closed_at_the_limit():
    edge = np.float32(127 / 128)
    a = [edge, np.nextafter(edge, np.float32(2)), -edge, -1.0, 0.996, 0.0]
    _, gradient = forward_and_backward(lambda a: quantizers.quantize_activation(a, 8), a, np.ones(6))
    assert_equal(gradient, [1, 0, 1, 0, 0, 1])


# Q_E
@given(st.data(), K)
def test_error(data, k):
    x, upstream = data.draw(values(k)), data.draw(tensors.scaled_arrays(SHAPE))
    y, gradient = forward_and_backward(lambda x: quantizers.quantize_error(x, k), x, upstream)
    assert_same_bits(y, x)
    assert_equal(gradient, oracle.error_backward(upstream, k))


def test_error_by_hand():
    _, gradient = forward_and_backward(
        lambda x: quantizers.quantize_error(x, 3), np.zeros((2, 2)), [[6.0, -3.0], [1.0, 0.4]]
    )
    assert_equal(gradient, [[6.0, -4.0], [0.0, 0.0]])  # Shift(6) = 8; 1/8 is a tie between 0 and 1/4


def test_error_maximum_is_over_the_whole_batch():
    upstream = np.array([[1.0, 1.0], [64.0, 64.0]])
    _, gradient = forward_and_backward(lambda x: quantizers.quantize_error(x, 8), np.zeros((2, 2)), upstream)
    assert_equal(gradient, [[1.0, 1.0], [63.5, 63.5]])


@given(st.integers(-100, 100), tensors.scaled_arrays(SHAPE), K)
def test_error_keeps_its_scale(exponent, upstream, k):
    """A power of two passes through: the codes do not depend on it."""
    upstream = np.where(np.abs(upstream) < 2**-20, 0, np.clip(upstream, -(2**20), 2**20)).astype(np.float32)
    scaled = np.ldexp(upstream, exponent).astype(np.float32)
    expected = np.ldexp(quantizers.error_backward(upstream, k=k), exponent if k > 1 or upstream.any() else 0)
    assert_same_bits(quantizers.error_backward(scaled, k=k), expected)


@pytest.mark.parametrize("largest", [2.0**-119, 1e-35, 1e37, 1.4 * 2.0**127])
def test_error_at_the_ends_of_float32(largest):
    """From where a step of the grid, 2^-7 of Shift, is no subnormal."""
    e = np.array([largest, -largest / 2, 0.0], np.float32)
    assert_equal(quantizers.error_backward(e, k=8), oracle.error_backward(e, 8))


@pytest.mark.parametrize("gamma", [0.5, 2.0, 8.0])
def test_gamma_shifts_the_upper_bound(gamma):
    """γ·e / Shift is quantized: from 2 on the largest errors are clipped, small ones rounded more finely."""
    e = np.random.default_rng(0).normal(size=(4, 9)).astype(np.float32)
    shift = float(oracle.shift(np.abs(e).max()))
    expected = oracle.quantize(np.float32(gamma) * e / np.float32(shift), 8) * np.float32(shift / gamma)
    assert_equal(quantizers.error_backward(e, k=8, gamma=gamma), expected)


def test_gamma_is_a_power_of_two():
    with pytest.raises(ValueError, match=r"gamma: a positive power of two; received 3"):
        quantizers.check_gamma(3)


# ReLU, Q_E and Q_A in one
@given(st.data(), st.sampled_from(["2-8-8-8", "2-2-8-4", "2-4-8-12"]))
def test_quantized_relu_equals_the_composition(data, pattern):
    bits = BitWidths.parse(pattern)
    x, upstream = data.draw(values(bits.a)), data.draw(tensors.scaled_arrays(SHAPE))
    y, gradient = forward_and_backward(lambda x: quantizers.quantized_relu(x, bits), x, upstream)
    y2, gradient2 = forward_and_backward(
        lambda x: quantizers.quantize_activation(quantizers.quantize_error(tf.nn.relu(x), bits), bits), x, upstream
    )
    assert_equal(y, y2)
    assert_equal(gradient, gradient2)
    assert_equal(y, oracle.quantize(oracle.relu(x), bits.a))
    masked = oracle.activation_backward(upstream, oracle.relu(x), bits.a)
    assert_equal(gradient, np.where(x > 0, oracle.error_backward(masked, bits.e), 0))


def test_quantized_relu_order_by_hand():
    """The saturated 64 does not count for Shift (mask first); the 8 at a closed ReLU does (ReLU last)."""
    _, gradient = forward_and_backward(
        lambda x: quantizers.quantized_relu(x, "2-8-8-8"), [2.0, -1.0, 0.5, 0.0], [64.0, 8.0, 1.0, 1.0]
    )
    assert_equal(gradient, [0, 0, 1, 0])


def test_quantized_relu_edges():
    y, gradient = forward_and_backward(
        lambda x: quantizers.quantized_relu(x, "2-8-8-8"), [INF, -INF, 0.0, 127 / 128, 1.0], np.ones(5)
    )
    assert_equal(y, [127 / 128, 0, 0, 127 / 128, 127 / 128])
    assert_equal(gradient, [0, 0, 0, 127 / 128, 0])


# Q_G
@given(
    tensors.scaled_arrays(SHAPE),
    st.sampled_from([2, 8, 12]),
    st.sampled_from([0.125, 0.5, 1.0, 8.0, 128.0]),
    tensors.seed_words,
    st.sampled_from([8, 16, 24]),
)
def test_gradient(g, k, learning_rate, word, width):
    delta = quantizers.quantize_gradient(g, k, learning_rate, (word, 7), width)
    assert_equal(delta, oracle.quantize_gradient(g, k, learning_rate, (word, 7), width))


def test_gradient_by_hand():
    g = [4.0, -4.0, 2.0, 0.0]  # Shift(4) = 4; at η = 8 these are 8, -8, 4, 0 steps of 1/128
    assert_equal(quantizers.quantize_gradient(g, 8, 8.0, (1, 2)), [8 / 128, -8 / 128, 4 / 128, 0])


def test_gradient_is_unbiased():
    g = np.full(100_000, 0.3, np.float32)
    g[0] = 1.0
    delta = np.asarray(quantizers.quantize_gradient(g, 8, 1.0, (5, 6)))
    assert set(np.unique(delta)) == {0.0, 1 / 128}
    assert abs(delta.mean() * 128 - 0.3) < 0.01


def test_gradient_takes_tensors():
    g = np.linspace(-3, 3, 50, dtype=np.float32)
    expected = quantizers.quantize_gradient(g, 8, 0.5, (9, 10))
    assert_same_bits(quantizers.quantize_gradient(g, 8, tf.constant(0.5), tf.constant([9, 10])), expected)
    assert np.any(np.asarray(quantizers.quantize_gradient(g, 8, 0.5, (9, 11))) != expected)


# Zeros and NaN
@pytest.mark.parametrize("pattern", ["2-8-8-8", "1-2-2-2", "2-8-16-16"])
def test_zeros_give_zeros(pattern):
    zeros = np.zeros(SHAPE, np.float32)
    x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(SHAPE)
    for function in (quantizers.quantize_error, quantizers.quantized_relu, quantizers.quantize_activation):
        _, gradient = forward_and_backward(lambda x, f=function: f(x, pattern), x, zeros)
        assert_equal(gradient, zeros)
    assert_equal(quantizers.quantize_gradient(zeros, pattern, 8.0, (1, 2)), zeros)


@pytest.mark.parametrize("poison", [NAN, INF, -INF])
def test_poisoned_errors_and_gradients_stay_visible(poison):
    """NaN, and infinity over infinity, must not become plausible numbers."""
    upstream = np.array([1.0, poison, -2.0, 0.0], np.float32)
    x = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    for function in (quantizers.quantize_error, quantizers.quantized_relu):
        _, gradient = forward_and_backward(lambda x, f=function: f(x, "2-8-8-8"), x, upstream)
        assert np.any(np.isnan(gradient))
    assert np.any(np.isnan(quantizers.quantize_gradient(upstream, 8, 8.0, (1, 2))))


def test_nan_in_weights_and_activations_stays_nan():
    x = np.array([0.3, NAN, 0.6], np.float32)
    for function in (quantizers.quantize_weight, quantizers.quantize_activation):
        np.testing.assert_array_equal(np.isnan(function(x, "2-8-8-8")), [False, True, False])
    np.testing.assert_array_equal(np.isnan(quantizers.quantized_relu(x, "2-8-8-8")), [False, True, False])


# Float32 and the forms of `bits`
def test_float_operands_pass_through():
    x = np.array([0.123, -5.0, 1e-9], np.float32)
    upstream = np.array([0.1, 7.7, -1e9], np.float32)
    for function in (
        lambda x: quantizers.quantize_weight(x, None, 8.0),
        lambda x: quantizers.quantize_activation(x, "f"),
        lambda x: quantizers.quantize_error(x, "2-8-8-f"),
    ):
        y, gradient = forward_and_backward(function, x, upstream)
        assert_same_bits(y, x)
        assert_same_bits(gradient, upstream)
    assert_same_bits(quantizers.quantize_gradient(upstream, None, 0.01, (1, 2)), np.float32(0.01) * upstream)


FORMS = ["3-5-7-9", "3,5,7,9", BitWidths(3, 5, 7, 9)]


@pytest.mark.parametrize("bits", FORMS)
def test_bits_may_be_a_pattern(bits):
    x = np.linspace(-1.5, 1.5, 12, dtype=np.float32).reshape(SHAPE)
    assert_same_bits(quantizers.quantize_weight(x, bits), quantizers.quantize_weight(x, 3))
    assert_same_bits(quantizers.quantize_activation(x, bits), quantizers.quantize_activation(x, 5))
    delta = quantizers.quantize_gradient(x, bits, 8.0, (1, 2))
    assert_same_bits(delta, quantizers.quantize_gradient(x, 7, 8.0, (1, 2)))
    gradients = [forward_and_backward(lambda x, b=b: quantizers.quantize_error(x, b), x, x)[1] for b in (bits, 9)]
    assert_same_bits(*gradients)


@pytest.mark.parametrize("bits", [0, 17, "2-8-8", "x", 2.0])
def test_wrong_bits_are_refused_by_every_operator(bits):
    x = np.ones(3, np.float32)
    for call in (
        lambda: quantizers.quantize_weight(x, bits),
        lambda: quantizers.quantize_activation(x, bits),
        lambda: quantizers.quantize_error(x, bits),
        lambda: quantizers.quantize_gradient(x, bits, 1.0, (1, 2)),
    ):
        with pytest.raises(ValueError, match="bits: a pattern is four widths"):
            call()


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_operators_agree_inside_functions(jit_compile):
    numbers = np.random.default_rng(3)
    x = numbers.standard_normal((5, 6, 7, 4)).astype(np.float32)
    upstream = (numbers.standard_normal(x.shape) * 1e-3).astype(np.float32)

    def everything(x, upstream):
        results = []
        for k in (2, 4, 8, 12):
            for function in (
                lambda x, k=k: quantizers.quantize_weight(x, k, 4.0),
                lambda x, k=k: quantizers.quantize_activation(x, k),
                lambda x, k=k: quantizers.quantize_error(x, k),
                lambda x, k=k: quantizers.quantized_relu(x, BitWidths(2, k, 8, k)),
            ):
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    y = function(x)
                results += [y, tape.gradient(y, x, upstream)]
            results.append(quantizers.quantize_gradient(upstream, k, 8.0, (4, 5)))
        return results

    inputs = tf.constant(x), tf.constant(upstream)
    compiled = tf.function(everything, jit_compile=jit_compile, autograph=False)
    with plain_operations():
        eager = everything(*inputs)
    for actual, expected in zip(compiled(*inputs), eager, strict=True):
        assert_same_bits(actual, expected)


FLOAT32 = [
    lambda x: quantizers.quantize_weight(x, 8, 2.0),
    lambda x: quantizers.quantize_activation(x, 8),
    lambda x: quantizers.quantize_error(x, 8),
    lambda x: quantizers.quantized_relu(x, "2-8-8-8"),
    lambda x: quantizers.quantize_gradient(x, 8, 1.0, (1, 2)),
]


@pytest.mark.parametrize("operator", FLOAT32)
def test_numbers_of_numpy_and_python_are_float32(operator):
    x = [0.25, -0.5, 3.0]
    expected = operator(tf.constant(x))
    for numbers in (x, np.array(x), np.array(x, np.float16)):
        assert_same_bits(operator(numbers), expected)
    assert_same_bits(operator([1, -2]), operator(tf.constant([1.0, -2.0])))


@pytest.mark.parametrize("operator", FLOAT32)
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "int32"])
def test_tensors_of_another_type_are_refused(operator, dtype):
    with pytest.raises(ValueError, match=f"a float32 tensor is wanted; received {dtype}"):
        operator(tf.cast([1, 2], dtype))


@pytest.mark.parametrize("alpha", [0, -2.0, 3.0, True, "4", float("nan")])
def test_alpha_is_a_power_of_two(alpha):
    with pytest.raises(ValueError, match="alpha: a positive power of two; received"):
        quantizers.quantize_weight([1.0], 2, alpha)
