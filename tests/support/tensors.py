"""Hypothesis strategies and exact comparisons shared by the tests."""

from __future__ import annotations

import contextlib

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import tensorflow as tf

widths = st.integers(1, 16)
grid_widths = st.integers(2, 16)
seed_words = st.integers(-(2**31), 2**32 - 1)

finite_floats = st.floats(-(2.0**126), 2.0**126, width=32, allow_subnormal=False)
unit_floats = st.floats(-2.0, 2.0, width=32, allow_subnormal=False)


@st.composite
def near_grid(draw, k):
    """Numbers on the k-bit grid, on the ties between its values, and the float32 neighbours of both."""
    half_codes = draw(st.integers(-(2**k) - 4, 2**k + 4))
    value = np.float32(half_codes * 2.0**-k)
    toward = draw(st.sampled_from([None, -np.inf, np.inf]))
    return float(value if toward is None or value == 0 else np.nextafter(value, np.float32(toward)))


def any_floats(k):
    return st.one_of(unit_floats, near_grid(k), finite_floats)


def arrays(elements, shape=None):
    """float32 arrays; of up to three dimensions unless a shape is given."""
    shape = hnp.array_shapes(min_dims=1, max_dims=3, max_side=6) if shape is None else shape
    return hnp.arrays(np.float32, shape, elements=elements, fill=st.nothing())  # every element drawn by itself


def scaled_arrays(shape):
    """Arrays of one shape whose magnitude is anywhere between 2^-60 and 2^60, zeros among them."""
    values = st.one_of(st.just(0.0), st.floats(-1.0, 1.0, width=32, allow_subnormal=False))
    return st.one_of(st.builds(spread_array, st.just(shape), st.integers(0, 2**32 - 1)), _drawn_arrays(shape, values))


def spread_array(shape, seed):
    """Normal numbers over six octaves: hypothesis likes equal magnitudes, which hide where a maximum is taken."""
    numbers = np.random.default_rng(seed)
    return np.ldexp(numbers.standard_normal(shape), numbers.integers(-3, 4, shape)).astype(np.float32)


def _drawn_arrays(shape, values):
    return st.builds(
        lambda x, exponent: np.ldexp(np.where(np.abs(x) < 2**-60, 0, x), exponent).astype(np.float32),
        arrays(values, shape),
        st.integers(-60, 60),
    )


def assert_same_bits(actual, expected):
    """The same float32 values bit for bit, the sign of zero included; NaN equals NaN."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype == np.float32
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(actual[numbers].view(np.uint32), expected[numbers].view(np.uint32))


def assert_equal(actual, expected):
    """The same values exactly, whatever the float type: 0 equals -0, NaN equals NaN."""
    np.testing.assert_array_equal(np.asarray(actual, np.float64), np.asarray(expected, np.float64), strict=True)


@contextlib.contextmanager
def plain_operations():
    """TensorFlow's own kernels, one operation after the other, for what is otherwise compiled by XLA."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)
