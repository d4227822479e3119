"""What a fused function sees, and the shape of what it returns."""

import numpy as np
import pytest
import tensorflow as tf

from support.tensors import assert_equal
from wage_tf.fusion import fused


@fused
def scaled(x, factor, *, offset):
    assert x.shape.rank in (0, 1)  # the claim under test: flat, or a scalar
    return x * factor + offset, x > 0, tf.reduce_max(x)


@pytest.mark.parametrize("shape", [(), (1,), (6,), (2, 3), (2, 0), (2, 1, 3, 1)])
def test_results_have_the_shape_of_the_first_tensor_or_none(shape):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) - 2
    product, sign, largest = scaled(x, 2.0, offset=1.0)
    assert product.shape == sign.shape == shape
    assert largest.shape == ()
    assert_equal(product, 2 * x + 1)
    assert_equal(sign, x > 0)


@pytest.mark.parametrize("shape", [(None, 3), (2, None), (None, None), None])
def test_what_is_known_of_a_shape_stays_known(shape):
    function = tf.function(lambda x: scaled(x, 2.0, offset=0.0)[0], input_signature=[tf.TensorSpec(shape, tf.float32)])
    assert str(function.get_concrete_function().structured_outputs.shape) == str(tf.TensorShape(shape))
    assert_equal(function(np.ones((2, 3), np.float32)), np.full((2, 3), 2.0))
