"""The numbers of docs/integers.md are what the code computes."""

import re
from pathlib import Path

import numpy as np

from wage_tf.integer import arithmetic, linear, tensors

GUIDE = (Path(__file__).parents[2] / "docs" / "integers.md").read_text()
EXAMPLE = GUIDE.partition("## One layer, one step")[2].partition("\n## ")[0]
SHOWN = "\n".join(re.findall(r"```\n(.*?)```", EXAMPLE, re.DOTALL))


def is_shown(rows):
    """Whether each row of a matrix stands in a line of the worked example."""
    words = (r"[ ]+".join(map(str, row)) for row in np.asarray(rows).tolist())
    return all(re.search(rf"(?<![-\d]){row}(?!\d)", SHOWN) for row in words)


def test_the_check_can_fail():
    assert is_shown([[64, -40], [-64, 50]])
    assert not is_shown([[64, -41]])
    assert not is_shown([[6, 33, -64]])


def test_one_layer_one_step():
    stored = np.array([[64, -40], [10, 33], [-64, 50]], np.int8)
    weights = arithmetic.quantize(stored, 7, 2)
    x = np.array([[127, 64, -3], [5, 0, 88]], np.int8)
    sums = linear.product(x, weights.T)
    activations = arithmetic.quantize(np.maximum(sums, 0), 7 + 1 + 1, 8)
    incoming = np.array([[90, -31], [12, 7]], np.int32)
    quantized, log2_shift = arithmetic.quantize_error(incoming, 8)
    errors = np.where(sums > 0, quantized, 0)
    gradient = linear.product(x.T, errors.T)
    random = arithmetic.random_bits((3, 2), (0, 0))
    steps = arithmetic.quantize_gradient(gradient, 3, (0, 0))
    updated = np.clip(stored - steps, -64, 64)
    for matrix in (stored, weights, x, sums, activations, incoming, quantized, errors, linear.product(errors, weights)):
        assert is_shown(matrix)
    assert is_shown(gradient)
    assert is_shown(updated)
    assert arithmetic.shift_exponent(90) == log2_shift == 6
    whole, rest = np.divmod(np.abs(gradient), 2**11)
    table = np.stack([gradient, whole, rest, rest * 2**5, random, np.abs(steps)], -1).reshape(-1, 6)
    assert is_shown(table[table[:, 0] != 0])


def test_where_branches_meet():
    e = tensors.total(
        [tensors.Tensor(np.array([127, -62], np.int8), 8), tensors.Tensor(np.array([5, -90], np.int8), 11)]
    )
    assert (e.codes.tolist(), e.fraction) == ([1021, -586], 11)
