"""The numbers of docs/integers.md."""

import numpy as np

from wage_tf.integer import arithmetic, linear


def test_one_layer_one_step():
    stored = np.array([[64, -40], [10, 33], [-64, 50]], np.int8)
    weights = arithmetic.quantize(stored, 7, 2)
    assert weights.tolist() == [[1, -1], [0, 1], [-1, 1]]
    x = np.array([[127, 64, -3], [5, 0, 88]], np.int8)
    sums = linear.product(x, weights.T)
    assert sums.tolist() == [[130, -66], [-83, 83]]
    assert arithmetic.quantize(np.maximum(sums, 0), 7 + 1 + 1, 8).tolist() == [[32, 0], [0, 21]]
    e = np.array([[90, -31], [12, 7]], np.int32)
    assert arithmetic.shift_exponent(90) == 6
    e, log2_shift = arithmetic.quantize_error(e, 8)
    assert log2_shift == 6
    assert e.tolist() == [[127, -62], [24, 14]]
    e = np.where(sums > 0, e, 0)
    assert linear.product(e, weights).tolist() == [[127, 0, -127], [-14, 14, 14]]
    g = linear.product(x.T, e.T)
    assert g.tolist() == [[16129, 70], [8128, 0], [-381, 1232]]
    assert arithmetic.random_bits((3, 2), (0, 0)).tolist() == [[44655, 58269], [28455, 53178], [32936, 5984]]
    steps = arithmetic.quantize_gradient(g, 3, (0, 0))
    assert steps.tolist() == [[8, 0], [4, 0], [0, 1]]
    assert np.clip(stored - steps, -64, 64).tolist() == [[56, -40], [6, 33], [-64, 49]]
