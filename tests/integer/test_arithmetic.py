"""Integer operators against wage_tf's float32 ones, bit for bit."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wage_tf import ops, quantizers
from wage_tf.integer import arithmetic

WIDTHS = (1, 2, 3, 4, 8, 12, 16)


def arrays(largest=2**23):
    return st.lists(st.integers(-largest, largest), min_size=1, max_size=12).map(lambda x: np.array(x, np.int32))


@pytest.mark.parametrize(("x", "shift", "expected"), [(5, 1, 2), (7, 1, 4), (-5, 1, -2), (7, 2, 2), (7, -1, 14)])
def test_round_shift_table(x, shift, expected):
    assert arithmetic.round_shift(np.array([x]), shift) == expected


@given(arrays(), st.integers(0, 24))
@settings(max_examples=100, deadline=None)
def test_round_shift_is_half_to_even(x, shift):
    assert (arithmetic.round_shift(x, shift) == np.rint(x.astype(np.float64) / 2.0**shift)).all()


@given(arrays(), st.integers(0, 24), st.sampled_from(WIDTHS))
@settings(max_examples=100, deadline=None)
def test_quantize(x, fraction, width):
    expected = ops.quantize(x.astype(np.float32) * 2.0**-fraction, width).numpy()
    codes = arithmetic.quantize(x, fraction, width)
    assert codes.dtype == (np.int8 if width <= 8 else np.int16)
    assert (codes * ops.step_size(width) == expected).all()


@pytest.mark.parametrize("shape", [(), (0, 3), (3, 20011), (2**13,)])
def test_quantize_of_any_size(shape):
    x = np.random.default_rng(0).integers(-300, 300, shape, np.int32)
    for values in (x, x.T):
        codes = arithmetic.quantize(values, 9, 8)
        assert codes.shape == values.shape
        assert np.array_equal(codes, np.clip(np.rint(values / 4), -127, 127))


@given(arrays(), st.integers(0, 24), st.sampled_from(WIDTHS[1:]))
@settings(max_examples=100, deadline=None)
def test_saturated(x, fraction, width):
    expected = np.abs(x * 2.0**-fraction) > ops.largest_value(width)
    assert (arithmetic.saturated(x, fraction, width) == expected).all()


@given(st.integers(1, 2**24))
@settings(max_examples=200, deadline=None)
def test_shift_exponent(largest):
    assert 2.0 ** arithmetic.shift_exponent(largest) == ops.shift(float(largest)).numpy()


@pytest.mark.parametrize("power", range(2, 24))
def test_shift_exponent_beside_sqrt2(power):
    for largest in range(int(2**power * 2**0.5) - 1, int(2**power * 2**0.5) + 3):
        assert 2.0 ** arithmetic.shift_exponent(largest) == ops.shift(float(largest)).numpy()


@given(arrays(), st.sampled_from(WIDTHS[1:]))
@settings(max_examples=100, deadline=None)
def test_quantize_error(e, width):
    expected = quantizers.error_backward(e.astype(np.float32), k=width).numpy()
    codes, log2_shift = arithmetic.quantize_error(e, width)
    assert (codes * ops.step_size(width) * 2.0**log2_shift == expected).all()


@given(
    arrays(), st.sampled_from((2, 8, 12)), st.integers(-6, 8), st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 9))
)
@settings(max_examples=60, deadline=None)
def test_quantize_gradient(g, width, log2_eta, seed):
    expected = quantizers.quantize_gradient(g.astype(np.float32), width, 2.0**log2_eta, seed).numpy()
    assert (arithmetic.quantize_gradient(g, log2_eta, seed) * ops.step_size(width) == expected).all()


@given(arrays(), st.integers(-200, 30), st.sampled_from((1, 8, 16)))
@settings(max_examples=100, deadline=None)
def test_every_learning_rate_has_its_steps(g, log2_eta, random_width):
    """⌊|g_s|⌋, and one more where r < frac|g_s|·2^n, in Python's unbounded integers and fractions."""
    steps = arithmetic.quantize_gradient(g, log2_eta, (1, 2), random_width)
    draws = arithmetic.random_bits(g.shape, (1, 2), random_width)
    largest = int(np.abs(g).max())
    scale = Fraction(2) ** log2_eta / 2 ** arithmetic.shift_exponent(largest) if largest else 0
    for value, draw, step in zip(g.tolist(), draws.tolist(), steps.tolist(), strict=True):
        size = abs(value) * scale
        floor = size // 1
        assert abs(step) == floor + (draw < (size - floor) * 2**random_width)
        assert step * value >= 0


@pytest.mark.parametrize("width", [1, 8, 16, 24])
@pytest.mark.parametrize("seed", [(0, 0), (2**32 - 1, 7), (0x9E3779B9, 123456)])
def test_random_bits(seed, width):
    assert (arithmetic.random_bits((3, 50), seed, width) == ops.random_bits((3, 50), seed, width).numpy()).all()


def test_zeros_stay_zeros():
    zeros = np.zeros((2, 3), np.int32)
    codes, log2_shift = arithmetic.quantize_error(zeros, 8)
    assert not codes.any()
    assert log2_shift == 0
    assert not arithmetic.quantize_gradient(zeros, 3, (1, 2)).any()
