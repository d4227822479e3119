import math

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import oracle
from support import tensors
from support.tensors import assert_equal, assert_same_bits
from wage_tf import constraints, initializers, ops
from wage_tf.layers import QConv2D, QDense


def alphas(name, pattern, shape):
    layers = models.build(name, pattern, shape, 10).layers
    return [layer.alpha for layer in layers if hasattr(layer, "alpha")]


def test_alphas_of_the_papers_networks():
    assert alphas("vgg7", "2-8-8-8", (32, 32, 3)) == [2, 16, 16, 16, 16, 32, 32, 16]
    assert alphas("lenet5", "2-8-8-8", (28, 28, 1)) == [2, 16, 16, 8]


VGG7_SHAPES = [
    (3, 3, 3, 128),
    (3, 3, 128, 128),
    (3, 3, 128, 256),
    (3, 3, 256, 256),
    (3, 3, 256, 512),
    (3, 3, 512, 512),
    (8192, 1024),
    (1024, 10),
]


def test_alphas_from_the_shapes_alone():
    assert [initializers.layer_alpha(s, "2-8-8-8") for s in VGG7_SHAPES] == [2, 16, 16, 16, 16, 32, 32, 16]


@pytest.mark.parametrize("factor", [1.0, 2.0])
@pytest.mark.parametrize("beta", [None, 1.5, 0.5])
@pytest.mark.parametrize("k", [1, 2, 3, 8, 16])
def test_alpha_equals_the_oracle(k, beta, factor):
    for shape in [*VGG7_SHAPES, (1, 5), (4, 5), (9, 2), (100, 3)]:
        expected = oracle.layer_alpha(shape, k, beta, factor)
        assert initializers.layer_alpha(shape, f"{k}-8-8-8", beta, factor) == expected
        assert np.frexp(expected)[0] == 0.5
        assert expected >= 1


def test_alpha_of_float_weights_is_one():
    assert initializers.layer_alpha((5000, 10), "f-8-8-8") == 1.0


def test_scaled_beta_keeps_the_limit_and_the_papers_does_not():
    assert [initializers.grid_limit(k) for k in (2, 3, 8, 16)] == [0.75] * 4
    assert initializers.grid_limit(1) == 1.5  # binary weights are ±1, twice the ternary ones
    assert [initializers.grid_limit(k, 1.5) for k in (2, 3, 8)] == [0.75, 0.375, 1.5 / 128]
    shape = (3, 3, 128, 128)
    assert initializers.layer_alpha(shape, "8-8-8-8") == 16
    assert initializers.layer_alpha(shape, "8-8-8-8", beta=1.5) == 1
    assert initializers.layer_alpha(shape, "2-8-8-8", beta=1.5) == 16


def test_factor_two_is_the_papers_limit():
    shape = (5, 5, 32, 64)
    assert initializers.fan_in_limit(shape) == math.sqrt(3 / 800)
    assert initializers.fan_in_limit(shape, 2.0) == math.sqrt(6 / 800)
    assert initializers.layer_alpha((288, 10), "2-8-8-8") == 8
    assert initializers.layer_alpha((288, 10), "2-8-8-8", factor=2.0) == 4


@pytest.mark.parametrize(("shape", "expected"), [((3, 3, 16, 32), 144), ((100, 10), 100), ((5, 5, 1, 32), 25)])
def test_fan_in(shape, expected):
    assert initializers.fan_in(shape) == expected


@pytest.mark.parametrize("pattern", ["1-8-8-8", "2-8-8-8", "3-8-8-8", "8-8-8-8", "16-8-8-8"])
def test_initial_weights_are_on_the_grid(pattern):
    w = np.asarray(initializers.ClampedUniform(pattern, seed=1)((40, 500)))
    assert w.dtype == np.float32
    k = int(pattern.partition("-")[0])
    assert_equal(oracle.quantize(w, k), w)
    assert abs(w.mean()) < 0.02
    largest = oracle.quantize(0.75, k)
    assert 0.999 * largest <= np.max(np.abs(w)) <= largest


def test_ternary_shares():
    """U(-3/4, 3/4) rounds to -1/2, 0 and 1/2 with equal shares."""
    w = np.asarray(initializers.ClampedUniform("2-8-8-8", seed=1)((1000, 90)))
    values, counts = np.unique(w, return_counts=True)
    assert_equal(values, [-0.5, 0.0, 0.5])
    assert np.all(np.abs(counts / w.size - 1 / 3) < 0.01)


def test_small_fan_in_takes_the_wider_limit():
    w = np.asarray(initializers.ClampedUniform("8-8-8-8", seed=1)((4, 20000)))  # L0 = 0.866 > 0.75
    assert np.max(np.abs(w)) == oracle.quantize(math.sqrt(3 / 4), 8)


def test_papers_beta_gives_small_wide_weights():
    w = np.asarray(initializers.ClampedUniform("8-8-8-8", beta=1.5, seed=1)((30000, 5)))
    assert np.max(np.abs(w)) == 1 / 128
    assert set(np.unique(w * 128)) == {-1, 0, 1}


def test_float_weights_are_uniform():
    w = np.asarray(initializers.ClampedUniform("f-8-8-8", seed=1)((300, 100)))
    bound = math.sqrt(3 / 300)
    assert 0.99 * bound < np.max(np.abs(w)) <= bound
    assert len(np.unique(w)) > 10000
    assert abs(w.std() - bound / math.sqrt(3)) < 0.01 * bound


def test_seed():
    shape = (20, 20)
    first = initializers.ClampedUniform(seed=1)(shape)
    assert_same_bits(initializers.ClampedUniform(seed=1)(shape), first)
    assert np.any(np.asarray(initializers.ClampedUniform(seed=2)(shape)) != first)
    unseeded = initializers.ClampedUniform()
    assert np.any(np.asarray(unseeded(shape)) != unseeded(shape))


def test_layers_of_a_network_start_differently():
    keras.utils.set_random_seed(3)
    one, two = QDense(16), QDense(16)
    one.build((None, 16))
    two.build((None, 16))
    assert np.any(one.kernel.numpy() != two.kernel.numpy())


def test_keras_global_seed_fixes_the_start():
    starts = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        layer = QConv2D(4, 3)
        layer.build((None, 8, 8, 3))
        starts.append(layer.kernel.numpy())
    assert_same_bits(*starts)


def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match="received 'float16'"):
        initializers.ClampedUniform()((3, 3), dtype="float16")


@pytest.mark.parametrize(("k", "bound"), [(1, 1.0), (2, 0.5), (8, 1 - 1 / 128), (16, 1 - 2**-15)])
def test_clip_to_grid(k, bound):
    clipped = constraints.ClipToGrid(k)(np.array([-3.0, -bound, 0.123, bound, 3.0], np.float32))
    assert_same_bits(clipped, np.array([-bound, -bound, 0.123, bound, bound], np.float32))


@pytest.mark.parametrize("k", [0, 2.0, None, "2"])
def test_clip_to_grid_rejects(k):
    with pytest.raises(ValueError, match="k: a bit width"):
        constraints.ClipToGrid(k)


@hypothesis.given(tensors.finite_floats.filter(lambda x: x > 0))
def test_nearest_power_of_two_is_shift(x):
    assert initializers.nearest_power_of_two(x) == float(ops.shift(x))


@pytest.mark.parametrize("exponent", [-126, -30, -1, 0, 1, 30, 126])
def test_nearest_power_of_two_turns_at_the_root_of_two(exponent):
    below = np.float32(1.4142135)
    above = np.nextafter(below, np.float32(2))
    for x, expected in ((below, exponent), (above, exponent + 1), (np.float32(1.0), exponent)):
        x = float(np.ldexp(x, exponent))
        assert initializers.nearest_power_of_two(x) == float(ops.shift(x)) == 2.0**expected
    root = math.ldexp(math.sqrt(2.0), exponent)  # the double is above the root itself
    assert initializers.nearest_power_of_two(root) == 2.0 ** (exponent + 1)
    assert initializers.nearest_power_of_two(math.nextafter(root, 0.0)) == 2.0**exponent


@pytest.mark.parametrize("x", [0.0, -1.0, math.inf, math.nan])
def test_nearest_power_of_two_rejects(x):
    with pytest.raises(ValueError, match="x: a positive finite number; received"):
        initializers.nearest_power_of_two(x)


def test_weights_drawn_inside_a_traced_function_are_those_drawn_outside():
    draws = []
    for mode in ({}, {"jit_compile": False}, {"jit_compile": True}):
        keras.utils.set_random_seed(3)
        initializer = initializers.ClampedUniform("4-8-8-8")

        def draw(initializer=initializer):
            return initializer((40, 30))

        draws.append(tf.function(draw, **mode)() if mode else draw())
    assert_same_bits(draws[1], draws[0])
    assert_same_bits(draws[2], draws[0])
