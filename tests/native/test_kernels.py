"""Every table of kernels against NumPy, over random layers and at 1 to 4 threads, with exact equality."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from support import native_layers
from support.native_layers import CLIPPED, OPEN, PLACE, Case, Layer, cases
from wage_tf import native
from wage_tf.integer import arithmetic
from wage_tf.integer.linear import Window

pytestmark = pytest.mark.usefixtures("native_engine")

threads = st.integers(1, 4)


def tables():
    """The tables of this machine; a name that it does not have is another machine's to test."""
    return list(native.instruction_sets()) if native.available() else []


def layer(case, name, **options):
    """The layer on that table, or on the portable one where the table declines it, as a network would have it."""
    made = Layer(case, native.instruction_sets()[name], **options)
    return made if made.takes() else Layer(case, native.runtime().lib.wage_portable, **options)


@pytest.mark.parametrize("name", tables())
@hypothesis.given(case=cases(), threads=threads)
def test_forward(name, case, threads):
    x, w = case.x(), case.w()
    sums, places = native_layers.pooled(native_layers.convolve(case, x, w), case.pool)
    activated = np.maximum(sums, 0) if case.relu else sums
    codes, gates = layer(case, name, threads=threads).forward(x, w)
    assert np.array_equal(codes, arithmetic.quantize(activated, case.shift + 7, 8))
    clipped = arithmetic.saturated(activated, case.shift + 7, 8)
    expected = np.where(sums > 0, OPEN, 0 if case.relu else OPEN) | np.where(clipped, CLIPPED, 0) | places << PLACE
    assert np.array_equal(gates, expected)


@pytest.mark.parametrize("name", tables())
@hypothesis.given(case=cases(), threads=threads)
def test_forward_sums(name, case, threads):
    case.pool = (1, 1)
    x, w = case.x(), case.w()
    sums, _ = layer(case, name, threads=threads, sums=True).forward(x, w)
    assert np.array_equal(sums, native_layers.convolve(case, x, w))


@pytest.mark.parametrize("name", tables())
@hypothesis.given(case=cases(), threads=threads, masked=st.booleans())
def test_error(name, case, threads, masked):
    e, w = case.e(), case.w()
    gate = case.numbers().integers(0, 4, (case.count, *case.size, case.channels)).astype(np.uint8) if masked else None
    expected = native_layers.convolve_error(case, e, w)
    if masked:
        expected = np.where(gate & CLIPPED, 0, expected)
    sums, largest = layer(case, name, threads=threads).error(e, w, gate)
    assert np.array_equal(sums, expected)
    assert largest == arithmetic.magnitude(expected)


@pytest.mark.parametrize("name", tables())
@hypothesis.given(case=cases(), threads=threads, wide=st.booleans())
def test_gradient(name, case, threads, wide):
    x, e = case.x(), case.e()
    expected = native_layers.convolve_gradient(case, x, e)
    sums, largest = layer(case, name, threads=threads, wide_gradient=wide).gradient(x, e)
    assert np.array_equal(sums, expected)
    assert largest == arithmetic.magnitude(expected)


@pytest.mark.parametrize("name", tables())
@pytest.mark.parametrize(("count", "size"), [(1, (375, 375)), (200_000, (1, 1))])
def test_gradient_past_32_bits(name, count, size):
    """140,625 positions of 127 · 127 pass 2^31, also where the batch of a dense layer is one row of them."""
    case = Case(count, size, 5, 7, Window((1, 1), (1, 1), "valid"))
    x, e = np.full((count, *size, 5), 127, np.int8), np.full((count, *size, 7), -127, np.int8)
    sums, largest = layer(case, name, threads=2, wide_gradient=True).gradient(x, e)
    positions = count * size[0] * size[1]
    assert (sums == -positions * 127**2).all()
    assert largest == positions * 127**2


@pytest.mark.parametrize("name", tables())
@hypothesis.given(
    case=cases(),
    threads=threads,
    size=st.integers(0, 30),
    shift=st.integers(-7, 30),
    width=st.integers(2, 8),
    masked=st.booleans(),
)
def test_round_errors(name, case, threads, size, shift, width, masked):
    numbers = case.numbers()
    shape = (case.count, *case.pooled, case.filters)
    if not masked:
        case.pool, shape = (1, 1), (case.count, *case.positions, case.filters)
    hypothesis.assume(size - min(shift, 0) <= 30)
    sums = numbers.integers(-(2**size), 2**size + 1, shape).astype(np.int32)
    places = numbers.integers(0, case.pool[0] * case.pool[1], shape)
    opened, clipped = numbers.integers(0, 2, (2, *shape))
    gate = (opened | clipped << 1 | places << PLACE).astype(np.uint8) if masked else None
    limit = arithmetic.largest_code(width)
    rounded = np.clip(arithmetic.round_shift(sums, shift), -limit, limit)
    expected = rounded
    if masked:
        full = (case.count, *case.positions, case.filters)
        expected = native_layers.spread(np.where(opened, rounded, 0), places, case.pool, full)
    assert np.array_equal(layer(case, name, threads=threads).round_errors(sums, gate, shift, limit), expected)


@pytest.mark.parametrize("name", tables())
@hypothesis.given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 400),
    threads=threads,
    size=st.integers(0, 40),
    log2_eta=st.integers(-40, 12),
    gradient_width=st.integers(2, 16),
    width=st.integers(1, 8),
    random_width=st.integers(1, 24),
    words=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
)
def test_update(name, seed, count, threads, size, log2_eta, gradient_width, width, random_width, words):
    numbers = np.random.default_rng(seed)
    wide = size > 30
    g = numbers.integers(-(2**size), 2**size + 1, count).astype(np.int64 if wide else np.int32)
    hypothesis.assume(arithmetic.magnitude(g) > 0)
    fraction = max(gradient_width, width) - 1
    limit = arithmetic.largest_code(width) << (fraction - width + 1)
    dtype = arithmetic.code_dtype(limit)
    stored = numbers.integers(-limit, limit + 1, count).astype(dtype)
    delta = arithmetic.quantize_gradient(g, log2_eta, words, random_width) << (fraction - gradient_width + 1)
    expected = np.clip(stored - delta, -limit, limit)
    extension = native.runtime()
    rate = extension.ffi.new("wage_rate *")
    rate.shift = arithmetic.shift_exponent(arithmetic.magnitude(g)) - log2_eta
    rate.keys = arithmetic._mix(np.array([words[0], words[1] ^ 0x9E3779B9], np.uint32)).tolist()
    rate.random_width, rate.grid, rate.limit = random_width, fraction - gradient_width + 1, limit
    rate.code_shift = fraction - width + 1
    rate.code_limit = arithmetic.largest_code(width) if width > 1 else 0
    team = Layer(Case(1, (1, 1), 1, 1, Window((1, 1), (1, 1), "valid")), native.instruction_sets()[name], threads)
    sums, kept, codes = (team.block(size)[0] for size in (g.nbytes, stored.nbytes, count))
    sums.view(g.dtype)[...], kept.view(dtype)[...] = g, stored
    team.run(
        lambda member: team.table.update(
            rate, team.pointer(sums), wide, team.pointer(kept), dtype.itemsize, team.pointer(codes), count, member
        )
    )
    assert np.array_equal(kept.view(dtype), expected)
    assert np.array_equal(codes.view(np.int8), arithmetic.quantize(expected, fraction, width))


@hypothesis.given(case=cases(wide=True), threads=threads)
def test_codes_of_16_bits(case, threads):
    table = native.runtime().lib.wage_portable_wide
    x, w, e = case.x(32767, np.int16), case.w(np.int16), case.e(32767, np.int16)
    options = {"threads": threads, "wide": True}
    sums, places = native_layers.pooled(native_layers.convolve(case, x, w), case.pool)
    activated = np.maximum(sums, 0) if case.relu else sums
    codes, gates = Layer(case, table, **options).forward(x, w)
    assert np.array_equal(codes, arithmetic.quantize(activated, case.shift + 15, 16))
    assert np.array_equal(gates >> PLACE, places)
    errors, _ = Layer(case, table, **options).error(e, w, None)
    assert np.array_equal(errors, native_layers.convolve_error(case, e, w))
    gradient, largest = Layer(case, table, **options).gradient(x, e)
    assert np.array_equal(gradient, native_layers.convolve_gradient(case, x, e))
    assert largest == arithmetic.magnitude(gradient)
