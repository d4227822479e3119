"""Training with wage_tf and Keras ends in exactly the weights of the NumPy oracle, step by step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import oracle
from support.tensors import assert_equal
from wage_tf.layers import QActivation, QConv2D, QDense, QError, QRescaling
from wage_tf.losses import SumSquaredError
from wage_tf.optimizers import IntegerSGD

PATTERNS = ["2-8-8-8", "1-8-8-8", "4-8-8-8", "8-8-12-4", "2-4-6-8"]
BATCH = 16
LEARNING_RATES = [8.0, 8.0, 8.0, 0.5, 0.5, 1.0]
SEED = 77


def widths_of(pattern):
    return tuple(None if width == "f" else int(width) for width in pattern.split("-"))


def random_batches(shape, count, seed=0):
    numbers = np.random.default_rng(seed)
    for _ in range(count):
        labels = numbers.integers(0, 10, BATCH)
        noise = numbers.integers(0, 256, (BATCH, *shape))
        images = np.clip(noise // 2 + 12 * labels[:, None, None, None], 0, 255).astype(np.uint8)
        yield images, np.eye(10, dtype=np.float32)[labels]


def digit_batches(digits, count, scale=1):
    images, targets = digits
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    for start in range(0, count * BATCH, BATCH):
        yield images[start : start + BATCH], targets[start : start + BATCH]


def pair(name, pattern, shape, **sizes):
    """A Keras model and an oracle network with the same weights."""
    builders = {
        "mlp": (oracle.mlp, {"units": (64, 64)}, 1 / 8),
        "lenet5": (oracle.lenet5, {"channels": (8, 16), "units": 128}, 1 / 4),
        "vgg7": (oracle.vgg7, {"channels": (8, 16, 32), "units": 64}, 1 / 16),
    }
    build, sizes, width = builders[name]
    reference = build(widths_of(pattern), shape, 10, seed=SEED, **sizes)
    model = models.build(name, pattern, shape, 10, width)
    model.set_weights([w.astype(np.float32) for w in reference.weights])
    assert [layer.alpha for layer in kernel_layers(model)] == reference.alphas
    optimizer = IntegerSGD(8.0, reference.k_g, SEED)
    model.compile(optimizer, SumSquaredError())
    return model, reference


def kernel_layers(model):
    return [layer for layer in model.layers if hasattr(layer, "alpha")]


def batches_of(name, digits, count):
    if name == "vgg7":
        shape = (16, 16, 3)
        return shape, list(random_batches(shape, count))
    scale = 2 if name == "lenet5" else 1
    return (8 * scale, 8 * scale, 1), list(digit_batches(digits, count, scale))


RUNS = [("mlp", pattern) for pattern in PATTERNS]
RUNS += [pytest.param("lenet5", p, marks=pytest.mark.slow) for p in ("2-8-8-8", "8-8-12-4", "2-4-6-8")]
RUNS += [pytest.param("vgg7", pattern, marks=pytest.mark.slow) for pattern in ("2-8-8-8", "1-8-8-8")]


@pytest.mark.parametrize(("name", "pattern"), RUNS)
def test_every_step_equals_the_oracle(name, pattern, digits):
    shape, batches = batches_of(name, digits, len(LEARNING_RATES))
    model, reference = pair(name, pattern, shape)
    changed = set()
    for (images, targets), learning_rate in zip(batches, LEARNING_RATES, strict=True):
        before = model.get_weights()
        model.optimizer.learning_rate = learning_rate
        loss = model.train_on_batch(images, targets)
        expected_loss = reference.train_step(images, targets, learning_rate)
        np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
        for index, (actual, expected) in enumerate(zip(model.get_weights(), reference.weights, strict=True)):
            assert_equal(actual, expected)
            if np.any(actual != before[index]):
                changed.add(index)
    assert len(changed) == len(reference.weights), "a layer that never moved proves nothing"


@pytest.mark.parametrize("name", ["mlp", "lenet5", "vgg7"])
def test_every_activation_equals_the_oracle(name, digits):
    shape, [(images, _)] = batches_of(name, digits, 1)
    model, reference = pair(name, "2-8-8-8", shape)
    scores = reference.forward(images)
    assert_equal(model(images), scores)
    assert_equal(model.predict(images, verbose=0), scores)
    blocks = [layer.output for layer in model.layers if layer.name.endswith(("rescale", "_relu"))]
    inner = keras.Model(model.input, blocks)(images)
    for actual, expected in zip(inner, reference.activations, strict=False):
        assert_equal(actual, expected)
    assert len(inner) == len(reference.blocks)
    assert len(np.unique(scores)) > 3


def test_fit_equals_the_oracle(digits):
    """`fit` over two epochs with a schedule of the learning rate, batches in order."""
    batches = list(digit_batches(digits, 4))
    model, reference = pair("mlp", "2-8-8-8", (8, 8, 1))
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([5], [8.0, 1.0])
    model.compile(IntegerSGD(schedule, 8, SEED), SumSquaredError())
    images, targets = (np.concatenate(part) for part in zip(*batches, strict=True))
    model.fit(images, targets, batch_size=BATCH, epochs=2, shuffle=False, verbose=0)
    for step in range(8):
        reference.train_step(*batches[step % 4], 8.0 if step <= 5 else 1.0)
    for actual, expected in zip(model.get_weights(), reference.weights, strict=True):
        assert_equal(actual, expected)


@pytest.mark.slow
def test_compiled_training_equals_the_oracle(digits):
    """The whole step under XLA."""
    batches = list(digit_batches(digits, 3, 2))
    model, reference = pair("lenet5", "2-8-8-8", (16, 16, 1))
    model.compile(IntegerSGD(8.0, 8, SEED), SumSquaredError(), jit_compile=True)
    for images, targets in batches:
        model.train_on_batch(images, targets)
        reference.train_step(images, targets, 8.0)
        for actual, expected in zip(model.get_weights(), reference.weights, strict=True):
            assert_equal(actual, expected)


def test_random_width_reaches_the_rounding(digits):
    [(images, targets)] = digit_batches(digits, 1)
    model, reference = pair("mlp", "2-8-8-8", (8, 8, 1))
    reference.random_width = 4
    model.compile(IntegerSGD(8.0, 8, SEED, random_width=4), SumSquaredError())
    model.train_on_batch(images, targets)
    reference.train_step(images, targets, 8.0)
    for actual, expected in zip(model.get_weights(), reference.weights, strict=True):
        assert_equal(actual, expected)


@pytest.mark.parametrize("pattern", ["2-8-8-8", "8-8-8-8", "4-6-12-4"])
def test_branches_equal_the_oracle(pattern):
    """A residual block: where its two errors meet, both have their true size."""
    reference = oracle.ResidualNetwork(widths_of(pattern), seed=SEED)
    model = residual_network(pattern)
    model.set_weights([w.astype(np.float32) for w in reference.weights])
    assert [layer.alpha for layer in kernel_layers(model)] == reference.alphas
    model.compile(IntegerSGD(8.0, reference.k_g, SEED), SumSquaredError())
    for images, targets in random_batches((8, 8, 3), 4):
        scores = model(images)
        model.train_on_batch(images, targets)
        assert_equal(scores, reference.train_step(images, targets, 8.0))
        for actual, expected in zip(model.get_weights(), reference.weights, strict=True):
            assert_equal(actual, expected)
    assert np.any(scores != 0)


def residual_network(bits):
    image = keras.Input((8, 8, 3), dtype="uint8")
    x = QRescaling(1 / 128, -1.0, bits)(image)
    x = QActivation(bits)(QConv2D(4, 3, padding="same", bits=bits)(x))
    branch = QActivation(bits)(QConv2D(4, 3, padding="same", bits=bits)(x))
    branch = QConv2D(4, 3, padding="same", bits=bits)(branch)
    x = QActivation(bits)(keras.layers.Add()([branch, x]))
    x = QActivation(bits, activation=None)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, QError(bits)(QDense(10, bits=bits)(x)))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": SEED + 1},
        {"step": 1},
        {"random_width": 4},
        {"k_g": 7},
        {"k_e": 7},
        {"k_a": 7},
        {"alphas": [1.0, 1.0, 1.0]},
    ],
)
def test_the_comparison_notices_a_change(change, digits):
    """A trained oracle with one number changed ends elsewhere: equality above is not empty."""
    networks = [oracle.mlp((2, 8, 8, 8), (8, 8, 1), 10, units=(64, 64), seed=SEED) for _ in range(2)]
    for attribute, value in change.items():
        setattr(networks[1], attribute, value)
    for images, targets in digit_batches(digits, 2):
        for network in networks:
            network.train_step(images, targets, 8.0)
    assert any(np.any(a != b) for a, b in zip(networks[0].weights, networks[1].weights, strict=True))


@pytest.mark.parametrize("name", ["mlp", "vgg7"])
def test_float_gradients_and_errors(name, digits):
    """2-8-f-f: exact forward pass, float32 backward pass close to the oracle's float64."""
    shape, batches = batches_of(name, digits, 3)
    model, reference = pair(name, "2-8-f-f", shape)
    model.optimizer.learning_rate = 2.0**-14
    for images, targets in batches:
        assert_equal(model(images), reference.forward(images))
        model.train_on_batch(images, targets)
        reference.train_step(images, targets, 2.0**-14)
        for actual, expected in zip(model.get_weights(), reference.weights, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "lenet5", "vgg7"])
def test_all_float(name, digits):
    shape, batches = batches_of(name, digits, 3)
    model, reference = pair(name, "f-f-f-f", shape)
    model.optimizer.learning_rate = 2.0**-8
    start = model.get_weights()
    for images, targets in batches:
        np.testing.assert_allclose(model(images), reference.forward(images), rtol=1e-4, atol=1e-5)
        model.train_on_batch(images, targets)
        reference.train_step(images, targets, 2.0**-8)
        for actual, expected in zip(model.get_weights(), reference.weights, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    for actual, before in zip(model.get_weights(), start, strict=True):
        assert np.max(np.abs(actual - before)) > 1e-4


def test_all_float_is_plain_keras(digits):
    """f-f-f-f layers and IntegerSGD equal plain Keras layers and SGD bit for bit."""
    pattern = "f-f-f-f"

    def network(conv, dense, relu, error):
        layers = [
            keras.Input((8, 8, 1)),
            conv(4, 3, padding="same"),
            keras.layers.MaxPooling2D(2),
            relu(),
            conv(8, 3, strides=2),
            relu(),
            keras.layers.Flatten(),
            dense(16),
            relu(),
            dense(10),
            error(),
        ]
        return keras.Sequential(layers)

    quantized = network(
        lambda *args, **kwargs: QConv2D(*args, bits=pattern, **kwargs),
        lambda units: QDense(units, bits=pattern),
        lambda: QActivation(pattern),
        lambda: QError(pattern),
    )
    plain = network(
        lambda *args, **kwargs: keras.layers.Conv2D(*args, use_bias=False, **kwargs),
        lambda units: keras.layers.Dense(units, use_bias=False),
        keras.layers.ReLU,
        keras.layers.Identity,
    )
    plain.set_weights(quantized.get_weights())
    quantized.compile(IntegerSGD(0.01, None, 1), SumSquaredError())
    plain.compile(keras.optimizers.SGD(0.01), SumSquaredError())
    for images, targets in digit_batches(digits, 3):
        images = images.astype(np.float32) / 256
        np.testing.assert_array_equal(quantized(images), plain(images))
        quantized.train_on_batch(images, targets)
        plain.train_on_batch(images, targets)
        for actual, expected in zip(quantized.get_weights(), plain.get_weights(), strict=True):
            np.testing.assert_array_equal(actual, expected)


# The oracle's own building blocks, against TensorFlow's on integers.
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("size", "kernel"), [((8, 8), 3), ((9, 7), 5), ((11, 11), 2), ((12, 11), 11)])
def test_oracle_convolution(size, kernel, padding, stride):
    numbers = np.random.default_rng(4)
    x = numbers.integers(-9, 10, (2, *size, 3)).astype(np.float64)
    w = numbers.integers(-9, 10, (kernel, kernel, 3, 5)).astype(np.float64)
    inputs, weights = tf.constant(x, tf.float32), tf.constant(w, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([inputs, weights])
        y = tf.nn.conv2d(inputs, weights, stride, padding.upper())
    upstream = numbers.integers(-9, 10, y.shape).astype(np.float64)
    expected = tape.gradient(y, [inputs, weights], tf.constant(upstream, tf.float32))
    assert_equal(oracle.conv2d(x, w, stride, padding), y)
    for actual, gradient in zip(oracle.conv2d_backward(upstream, x, w, stride, padding), expected, strict=True):
        assert_equal(actual, gradient)


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (1, 7, 9, 2)])
def test_oracle_pooling_with_ties(shape):
    numbers = np.random.default_rng(5)
    x = numbers.integers(-1, 2, shape).astype(np.float64)
    inputs = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = tf.nn.max_pool2d(inputs, 2, 2, "VALID")
    maxima, winner = oracle.max_pool(x)
    assert_equal(maxima, y)
    upstream = numbers.integers(1, 9, y.shape).astype(np.float64)
    gradient = tape.gradient(y, inputs, tf.constant(upstream, tf.float32))
    assert_equal(oracle.max_pool_backward(upstream, winner, shape), gradient)


def test_oracle_shift_at_the_threshold():
    below, above = (float(np.uint32(bits).view(np.float32)) for bits in (0x3FB504F3, 0x3FB504F4))
    assert (oracle.shift(below), oracle.shift(above)) == (1.0, 2.0)
    assert [oracle.shift(x) for x in (0.0, 1.0, 3.0, 0.7, 6e-9)] == [0.0, 1.0, 4.0, 0.5, 2.0**-27]


def test_oracle_loss():
    assert oracle.sum_squared_error(np.array([[1.0, 0.5], [0.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])) == 0.625


def test_oracle_is_independent():
    """It imports nothing of what it checks."""
    import ast
    from pathlib import Path

    tree = ast.parse(Path(oracle.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "dataclasses", "itertools", "math", "fractions", "numpy"}
