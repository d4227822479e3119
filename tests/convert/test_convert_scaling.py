import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import oracle
from support.tensors import spread_array
from wage_tf.bits import BitWidths
from wage_tf.convert.scaling import best_exponent, store


def loss(x, e, k):
    """‖x − 2^−e·Q(2^e·x, k)‖² / ‖x‖² by the oracle's Q."""
    x = x.astype(np.float64)
    return np.sum((x - oracle.quantize((x * 2.0**e).astype(np.float32), k) * 2.0**-e) ** 2) / np.sum(x**2)


tensors = st.builds(spread_array, st.sampled_from([(3, 3, 4, 5), (7,), (40, 10)]), st.integers(0, 2**32 - 1))


@hypothesis.given(st.lists(st.tuples(tensors, st.integers(1, 10)), min_size=1, max_size=3))
def test_no_other_power_of_two_loses_less(drawn):
    found = best_exponent([x for x, _ in drawn], [k for _, k in drawn])
    losses = {e: sum(loss(x, e, k) for x, k in drawn) for e in range(-20, 21)}
    assert losses[found] <= min(losses.values()) * (1 + 1e-5) + 1e-12


@hypothesis.given(tensors, st.integers(1, 8), st.integers(-30, 30))
def test_a_tensor_scaled_by_a_power_of_two_has_that_much_less(x, k, shift):
    assert best_exponent([np.ldexp(x, shift)], [k]) == best_exponent([x], [k]) - shift


@pytest.mark.parametrize(
    ("values", "k", "expected"),
    [
        ([-3.0, 0.0, 3.0, 2.0], 8, -2),  # a quarter: 0.75 fits, half: 1.5 does not
        ([-1.0, 0.0, 1.0], 2, -1),  # ternary already: ±0.5
        ([-4.0, 4.0], 1, -2),  # binary already: ±1
        ([0.5, 0.25], 8, 0),  # equally good at −1 and below, which would leave the grid's upper half empty
        ([0.0, 0.0], 8, 0),
        ([], 8, 0),
    ],
)
def test_exponents_by_hand(values, k, expected):
    assert best_exponent([np.array(values)], [k]) == expected


def test_tensors_count_alike_whatever_their_size():
    small, large = np.full(10, 0.9 * 2.0**-10), np.full(1000, 0.9)
    assert best_exponent([small, large, large], [4, 4, 4]) == best_exponent([large], [4])
    assert best_exponent([small, np.zeros(3)], [4, 4]) == 10


@hypothesis.given(
    tensors,
    st.integers(-4, 4),
    st.integers(-4, 4),
    st.sampled_from(["1-8-8-8", "2-8-8-8", "4-8-2-8", "8-8-12-8", "2-8-f-f"]),
)
def test_stored_over_alpha_is_the_kernel_between_its_activations(kernel, e_in, e_out, pattern):
    bits = BitWidths.parse(pattern)
    stored = store(kernel.astype(np.float64), np.ones(3), e_in, e_out, bits)
    m = best_exponent([kernel], [bits.w])
    assert stored.alpha == 2.0 ** (m + e_in - e_out)
    np.testing.assert_array_equal(stored.bias, np.full(3, min(2.0**e_out, 8), np.float32))
    limit = 1.0 if bits.w == 1 else 1 - 2.0 ** (1 - bits.w)
    if bits.g is None:
        wanted = np.clip(np.ldexp(kernel, m), -limit, limit)
    else:
        wanted = np.clip(oracle.quantize(np.ldexp(kernel, m), max(bits.w, bits.g)), -limit, limit)
    np.testing.assert_array_equal(stored.kernel, wanted.astype(np.float32))


def test_float_weights_are_only_scaled():
    kernel = np.random.default_rng(0).standard_normal((5, 3))
    stored = store(kernel, None, 2, -1, BitWidths.parse("f-8-f-8"))
    np.testing.assert_array_equal(stored.kernel, (kernel / 8).astype(np.float32))
    assert stored.alpha is None
    assert stored.bias is None


def test_a_bias_is_rounded_to_the_finer_of_its_sums_and_of_the_update():
    bias = np.array([0.3, -0.0019, 700.0])
    coarse = store(np.array([[0.5]]), bias, 0, 0, BitWidths.parse("2-4-8-8"))  # sums in steps of 2^-3·2^-1/1
    assert coarse.alpha == 1
    np.testing.assert_array_equal(coarse.bias, np.array([38 / 128, 0, 8], np.float32))
    fine = store(np.array([[0.5]]), bias, 0, 0, BitWidths.parse("2-8-4-8"))  # sums in steps of 2^-7·2^-1/1
    np.testing.assert_array_equal(fine.bias, np.array([77 / 256, 0, 8], np.float32))
    free = store(np.array([[0.5]]), bias, 0, 0, BitWidths.parse("2-f-8-8"))
    np.testing.assert_array_equal(free.bias, bias.astype(np.float32))
