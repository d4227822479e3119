import keras
import numpy as np
import pytest
import tensorflow as tf

import oracle
from support.tensors import assert_equal, assert_same_bits
from wage_tf import BitWidths
from wage_tf.constraints import ClipToGrid, ClipToRange
from wage_tf.initializers import ClampedUniform
from wage_tf.layers import QActivation, QConv2D, QDense, QError, QRescaling

X = (np.random.default_rng(0).integers(-127, 128, (2, 7, 6, 3)) / 128).astype(np.float32)
WIDE = np.random.default_rng(1).uniform(-1.2, 1.2, (3, 2, 3, 4)).astype(np.float32)


def gradients(layer, x, upstream):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    return y, *tape.gradient(y, [x, *[w.value for w in layer.trainable_variables]], tf.constant(upstream, tf.float32))


# Kernels
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("pattern", ["1-8-8-8", "2-8-8-8", "8-8-8-8"])
def test_conv2d_forward_and_backward(pattern, strides, padding):
    layer = QConv2D(4, (3, 2), strides=strides, padding=padding, bits=pattern, alpha=4.0)
    layer.build(X.shape)
    layer.kernel.assign(WIDE)
    kernel = oracle.quantize_weight(WIDE, int(pattern[0]), 4.0)
    expected = oracle.conv2d(X, kernel, strides, padding)
    upstream = np.random.default_rng(2).integers(-127, 128, expected.shape) / 128
    y, x_gradient, kernel_gradient = gradients(layer, X, upstream)
    assert_equal(y, expected)
    expected_x, expected_kernel = oracle.conv2d_backward(upstream, X, kernel, strides, padding)
    assert_equal(x_gradient, expected_x)
    assert_equal(kernel_gradient, expected_kernel)


@pytest.mark.parametrize("pattern", ["1-8-8-8", "2-8-8-8", "8-8-8-8"])
@pytest.mark.parametrize("shape", [(5, 12), (2, 3, 12)])
def test_dense_forward_and_backward(pattern, shape):
    x = (np.random.default_rng(3).integers(-127, 128, shape) / 128).astype(np.float32)
    w = np.random.default_rng(4).uniform(-1.2, 1.2, (12, 5)).astype(np.float32)
    layer = QDense(5, bits=pattern, alpha=2.0)
    layer.build(shape)
    layer.kernel.assign(w)
    kernel = oracle.quantize_weight(w, int(pattern[0]), 2.0)
    upstream = np.random.default_rng(5).integers(-127, 128, (*shape[:-1], 5)) / 128
    y, x_gradient, kernel_gradient = gradients(layer, x, upstream)
    assert_equal(y, x @ kernel)
    assert_equal(x_gradient, upstream @ kernel.T)
    assert_equal(kernel_gradient, x.reshape(-1, 12).T.astype(float) @ upstream.reshape(-1, 5))


@pytest.mark.parametrize("make", [lambda **k: QConv2D(4, 3, **k), lambda **k: QDense(4, **k)])
def test_kernel_layer_defaults(make):
    layer = make()
    assert layer.alpha is None
    layer.build((None, 8, 8, 16))
    assert layer.bits == BitWidths.parse("2-8-8-8")
    assert layer.kernel.bits == layer.bits
    assert layer.alpha == oracle.layer_alpha(layer.kernel.shape, 2)
    assert not layer.use_bias
    assert [w.path.rpartition("/")[2] for w in layer.weights] == ["kernel"]
    assert isinstance(layer.kernel_initializer, ClampedUniform)
    assert isinstance(layer.kernel_constraint, ClipToGrid)
    assert layer.kernel.constraint.bits == 2
    assert set(np.unique(layer.kernel)) == {-0.5, 0.0, 0.5}
    assert_equal(layer.quantized_kernel, np.asarray(layer.kernel) / layer.alpha)


@pytest.mark.parametrize("make", [lambda **k: QConv2D(4, 3, **k), lambda **k: QDense(4, **k)])
def test_kernel_layer_arguments(make):
    given = make(alpha=1.0)
    given.build((None, 8, 8, 64))
    assert given.alpha == 1.0
    papers = make(bits="8-8-8-8", beta=1.5, factor=2.0)
    papers.build((None, 8, 8, 64))
    assert papers.alpha == oracle.layer_alpha(papers.kernel.shape, 8, 1.5, 2.0) == 1.0
    assert papers.kernel_initializer.beta == 1.5
    assert papers.kernel_initializer.factor == 2.0
    assert papers.kernel_constraint.bits == 8
    unclipped = make(bits="f-8-8-8")
    unclipped.build((None, 8, 8, 64))
    assert unclipped.kernel_constraint is None
    assert unclipped.alpha == 1.0
    zeros = make(kernel_initializer="zeros", kernel_constraint=ClipToGrid(8))
    zeros.build((None, 8, 8, 64))
    assert not np.any(zeros.kernel)
    assert zeros.kernel.constraint.bits == 8


def test_fan_in_comes_from_the_input():
    layer = QConv2D(8, 5, padding="same")
    layer.build((None, 28, 28, 32))
    assert layer.alpha == 16  # 800 inputs
    layer = QDense(10)
    layer.build((None, 512))
    assert layer.alpha == 8


@pytest.mark.parametrize("alpha", [0, -1.0, 0.0, 3.0, 0.3])
def test_alpha_must_be_a_positive_power_of_two(alpha):
    """A product with 1/3 is no integer times a power of two."""
    with pytest.raises(ValueError, match=f"alpha: .* received {alpha}"):
        QDense(3, alpha=alpha)


@pytest.mark.parametrize(
    "make",
    [
        lambda bits: QConv2D(3, 3, bits=bits),
        lambda bits: QDense(3, bits=bits),
        lambda bits: QActivation(bits),
        lambda bits: QError(bits),
        lambda bits: QRescaling(1.0, bits=bits),
    ],
)
@pytest.mark.parametrize("bits", ["2-8-8", 8, None, "17-8-8-8"])
def test_wrong_bits_are_refused_by_every_layer(make, bits):
    with pytest.raises(ValueError, match="bits: a pattern is four widths"):
        make(bits)


def test_bias_is_added():
    conv, dense = QConv2D(4, (3, 2), use_bias=True, bias_initializer="ones"), QDense(4, use_bias=True)
    conv.build(X.shape)
    without = oracle.conv2d(X, oracle.quantize_weight(conv.kernel, 2, conv.alpha))
    assert_equal(conv(X), without + 1)
    dense.build((2, 3))
    dense.bias.assign([0.25, -1.0, 3.0, 0.0])
    x = np.array([[0.5, 0.25, -1.0], [0.0, 0.0, 0.0]], np.float32)
    product = x @ oracle.quantize_weight(dense.kernel, 2, dense.alpha)
    assert_equal(dense(x), product + np.array([0.25, -1.0, 3.0, 0.0]))


@pytest.mark.parametrize(("bits", "step", "trained"), [("2-8-8-8", 2.0**-10, 8), ("4-6-f-8", 2.0**-10, None)])
def test_bias_lies_on_the_grid_of_the_sums(bits, step, trained):
    """σ(k_A)·σ(k_W)/α = 2^-7·2^-1/4 and 2^-5·2^-3/4; within ±8, and Q_G's where it has a width."""
    layer = QDense(4, bits=bits, alpha=4.0, use_bias=True)
    layer.build((2, 3))
    layer.bias.assign([0.3, -1.5 * step, 9.0, -1.0])
    assert_equal(layer(np.zeros((1, 3), np.float32)), [[np.rint(np.float32(0.3) / step) * step, -2 * step, 8.0, -1.0]])
    assert getattr(getattr(layer.bias, "bits", None), "g", None) == trained
    assert_equal(layer.bias.constraint(layer.bias), [np.float32(0.3), -1.5 * step, 8.0, -1.0])


@pytest.mark.parametrize("bits", ["f-8-8-8", "2-f-8-8"])
def test_bias_of_float_sums_is_float(bits):
    layer = QDense(2, bits=bits, use_bias=True)
    layer.build((2, 3))
    layer.bias.assign([0.3, 9.0])
    assert_equal(layer(np.zeros((1, 3), np.float32)), [[np.float32(0.3), 9.0]])
    assert not hasattr(layer.bias, "bits")


def test_activation_argument():
    x = np.array([[1.0, -1.0, 0.5]], np.float32)
    plain, rectified = QDense(6), QDense(6, activation="relu")
    plain.build(x.shape)
    rectified.build(x.shape)
    rectified.set_weights(plain.get_weights())
    assert_equal(rectified(x), np.maximum(plain(x), 0))
    assert np.any(np.asarray(plain(x)) < 0)


def test_stored_weights_between_grid_points_are_rounded_only_in_the_forward_pass():
    layer = QDense(1, alpha=1.0)
    layer.build((None, 1))
    for stored, used in ((0.2421875, 0.0), (0.2578125, 0.5), (-0.5, -0.5), (0.25, 0.0)):
        layer.kernel.assign([[stored]])
        assert_equal(layer(np.ones((1, 1), np.float32)), [[used]])
        assert_equal(layer.kernel, [[stored]])


# Activations, errors, pixels
def activation_cases():
    numbers = np.random.default_rng(6)
    x = (numbers.integers(-400, 401, (6, 20)) / 256).astype(np.float32)
    return x, numbers.standard_normal(x.shape).astype(np.float32)


@pytest.mark.parametrize("pattern", ["2-8-8-8", "2-4-8-6", "2-8-8-f", "2-f-8-8", "2-f-f-f"])
def test_relu_activation(pattern):
    x, upstream = activation_cases()
    bits = BitWidths.parse(pattern)
    y, gradient = gradients(QActivation(pattern), x, upstream)
    assert_equal(y, oracle.quantize_activation(oracle.relu(x), bits.a))
    masked = oracle.activation_backward(upstream, oracle.relu(x), bits.a)
    assert_equal(gradient, np.where(x > 0, oracle.error_backward(masked, bits.e), 0))


@pytest.mark.parametrize("pattern", ["2-8-8-8", "2-4-8-6"])
def test_linear_activation(pattern):
    x, upstream = activation_cases()
    bits = BitWidths.parse(pattern)
    y, gradient = gradients(QActivation(pattern, activation=None), x, upstream)
    assert_equal(y, oracle.quantize_activation(x, bits.a))
    assert_equal(gradient, oracle.error_backward(oracle.activation_backward(upstream, x, bits.a), bits.e))


def test_other_activations():
    x, upstream = activation_cases()
    y, gradient = gradients(QActivation("2-8-8-8", activation="tanh"), x, upstream)
    assert_equal(y, oracle.quantize(np.asarray(tf.tanh(x)), 8))
    masked = oracle.activation_backward(upstream, np.asarray(tf.tanh(x)), 8)
    np.testing.assert_allclose(gradient, oracle.error_backward(masked, 8) * (1 - np.tanh(x) ** 2), rtol=1e-4, atol=1e-6)


def test_last_layer_order_is_error_then_mask():
    """QActivation without Q_E, then QError: the 64 counts for Shift, though Q_A's mask drops it afterwards."""
    clipped = keras.Sequential([QActivation("2-8-8-f", activation=None), QError("2-8-8-8")])
    _, gradient = gradients(clipped, np.array([[2.0, 0.5]], np.float32), np.array([[64.0, 16.0]]))
    assert_equal(gradient, [[0.0, 16.0]])


def test_error_layer():
    x, upstream = activation_cases()
    y, gradient = gradients(QError("2-8-8-5"), x, upstream)
    assert_same_bits(y, x)
    assert_equal(gradient, oracle.error_backward(upstream, 5))


@pytest.mark.parametrize("pixels", [np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.float32)])
def test_rescaling(pixels):
    pixels = pixels.reshape(1, 16, 16, 1)
    assert_equal(QRescaling(1 / 128, -1.0)(pixels), np.clip(pixels.astype(float) / 128 - 1, -127 / 128, 127 / 128))
    assert_equal(QRescaling(1 / 256)(pixels), oracle.quantize(pixels.astype(float) / 256, 8))
    assert_equal(QRescaling(1 / 256, bits="2-4-8-8")(pixels), oracle.quantize(pixels.astype(float) / 256, 4))
    assert_equal(QRescaling(1 / 256, bits="2-f-8-8")(pixels), pixels.astype(float) / 256)
    assert QRescaling(1 / 256)(pixels).dtype == tf.float32


def test_rescaling_ties_go_to_even():
    pixels = np.array([[1, 2, 3, 5, 255]], np.uint8)
    assert_equal(QRescaling(1 / 256)(pixels), np.array([[0, 1, 2, 2, 127]]) / 128)


def test_layers_work_on_unknown_batch_and_image_sizes():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, QActivation()(QConv2D(4, 3)(inputs)))
    assert model.output_shape == (None, None, None, 4)
    for shape in ((1, 5, 5, 3), (3, 8, 6, 3)):
        assert model(np.zeros(shape, np.float32)).shape == (shape[0], shape[1] - 2, shape[2] - 2, 4)


def test_an_empty_batch_passes():
    """With the shape that Keras' convolution gives it: under oneDNN TensorFlow returns the input's."""
    images = np.zeros((0, 8, 8, 3), np.float32)
    assert QActivation()(QConv2D(4, 3)(images)).shape == keras.layers.Conv2D(4, 3, use_bias=False)(images).shape


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64", "int8_from_float32"])
@pytest.mark.parametrize(
    "make",
    [lambda **k: QDense(2, **k), lambda **k: QConv2D(2, 3, **k), QActivation, QError, lambda **k: QRescaling(1.0, **k)],
)
def test_other_policies_than_float32_are_refused(make, policy):
    with pytest.raises(ValueError, match=f"simulates integers in float32; received the policy '{policy}'"):
        make(dtype=policy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": "4"}, "alpha: a positive power of two"),
        ({"alpha": 4.0, "bits": "f-8-8-8"}, "alpha: belongs to quantized weights"),
        ({"beta": -1.0}, "beta: a positive number"),
        ({"factor": 0.0}, "factor: a positive number"),
    ],
)
def test_wrong_constants_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        QDense(2, **arguments).build((None, 3))


@pytest.mark.parametrize(
    ("positional", "keras_class"),
    [
        (QDense(3, "relu", True, "zeros"), keras.layers.Dense(3, "relu", True, "zeros")),
        (
            QConv2D(3, 2, (1, 2), "same", None, 1, 1, "relu", True, "zeros"),
            keras.layers.Conv2D(3, 2, (1, 2), "same", None, 1, 1, "relu", True, "zeros"),
        ),
    ],
)
def test_positions_of_arguments_are_keras(positional, keras_class):
    expected = keras_class.get_config()
    config = positional.get_config()
    different = {"name", "kernel_constraint", "bias_constraint", "registered_name"}
    assert {k: v for k, v in config.items() if k in expected and k not in different} == {
        k: v for k, v in expected.items() if k not in different
    }
    assert isinstance(positional.kernel_constraint, ClipToGrid)
    assert isinstance(positional.bias_constraint, ClipToRange)


def test_arguments_that_are_none_or_unknown_are_refused():
    with pytest.raises(TypeError, match="too many positional arguments"):
        QDense(*range(1, 30))
    with pytest.raises(TypeError, match="multiple values for argument 'units'"):
        QDense(3, units=4)
    with pytest.raises(ValueError, match="colour"):
        QDense(3, colour=4)


@pytest.mark.parametrize("make", [lambda **k: QConv2D(4, 3, **k), lambda **k: QDense(4, **k)])
@pytest.mark.parametrize("bits", ["2-8-8-8", "f-8-8-8"])
def test_lora_is_refused(make, bits):
    layer = make(bits=bits)
    layer.build((None, 8, 8, 3))
    with pytest.raises(ValueError, match=r"lora: Q\w+ has an integer kernel, .* the rank 4 .*freeze"):
        layer.enable_lora(4)
    with pytest.raises(ValueError, match=r"lora: .* received the rank 2"):
        make(bits=bits, lora_rank=2)
