"""The engine against Keras: inference, gradients and training steps, with exact equality."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import wage_tf
from support.images import random_images, real_images
from wage_tf import integer
from wage_tf.errors import UserError
from wage_tf.export import Card, packed
from wage_tf.integer import exactness
from wage_tf.integer.exactness import EXACT_SUMS
from wage_tf.optimizers import gradient_bits

LOG2_ETA, SEED = 3, 5


def build(name, bits, shape, width):
    keras.utils.set_random_seed(0)
    model = models.build(name, bits, shape, 10, width=width)
    optimizer = wage_tf.optimizers.IntegerSGD(2.0**LOG2_ETA, bits=gradient_bits(model), seed=SEED)
    model.compile(optimizer, wage_tf.losses.SumSquaredError())
    return model


def assert_same_weights(model, graph, step):
    for name, kernel in graph.kernels.items():
        stored = model.get_layer(name).kernel.numpy() * 2.0**kernel.fraction
        assert (stored == kernel.accumulators).all(), f"{name} differs after step {step}"


def assert_trains_alike(model, images, labels, steps, batch):
    """Steps whose float32 sums are exact by their bounds, on any CPU and in any order."""
    graph = integer.freeze(model)
    for step in range(steps):
        part = slice(step * batch, (step + 1) * batch)
        model.train_on_batch(images[part], np.eye(10, dtype=np.float32)[labels[part]])
        outputs = integer.forward(graph, images[part])
        gradients, errors = integer.backward(graph, outputs, labels[part])
        assert max(exactness.forward_bounds(graph, outputs).values()) < EXACT_SUMS
        assert max(exactness.error_bounds(graph, outputs, errors).values()) < EXACT_SUMS
        assert max(exactness.gradient_bounds(graph, outputs, errors).values()) < EXACT_SUMS
        graph = integer.update(graph, gradients, LOG2_ETA, SEED, step)
        assert_same_weights(model, graph, step)
    return graph


def assert_infers_alike(model, graph, images):
    scores = model.predict(images, batch_size=500, verbose=0)
    assert (scores * 2.0**graph.output.fraction == integer.infer(graph, images)).all()


@pytest.mark.slow
def test_lenet5_trains_100_steps_alike_on_mnist():
    images, labels = real_images("mnist", "train[:3200]")
    model = build("lenet5", "2-8-8-8", (28, 28, 1), 0.25)
    graph = assert_trains_alike(model, images, labels, steps=100, batch=32)
    assert_infers_alike(model, graph, real_images("mnist", "test")[0][:1000])


@pytest.mark.slow
def test_vgg7_trains_alike_on_cifar10():
    images, labels = real_images("cifar10", "train[:48]")
    model = build("vgg7", "2-8-8-8", (32, 32, 3), 0.125)
    graph = assert_trains_alike(model, images, labels, steps=3, batch=16)
    assert_infers_alike(model, graph, real_images("cifar10", "test[:100]")[0])


@pytest.mark.slow
@pytest.mark.parametrize("frozen", ["conv1", "fc2"])
def test_a_frozen_layer_is_not_updated(frozen):
    model = build("lenet5", "2-8-8-8", (16, 16, 1), 0.05)
    before = integer.freeze(model).kernels[frozen].accumulators
    model.get_layer(frozen).trainable = False
    model.compile(model.optimizer.from_config(model.optimizer.get_config()), model.loss)
    graph = assert_trains_alike(model, random_images((16, 16, 1), 24), np.arange(24) % 10, steps=3, batch=8)
    assert (graph.kernels[frozen].accumulators == before).all()
    again, _ = packed.from_bytes(packed.to_bytes(graph, Card("net", "2-8-8-8", "x/256"), accumulators=True))
    assert [kernel.variable for kernel in again.kernels.values()].count(None) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bits", "shape"),
    [
        ("mlp", "1-8-8-8", (9, 9, 1)),
        ("mlp", "8-8-4-8", (9, 9, 1)),
        ("lenet5", "3-12-16-9", (16, 16, 1)),
        ("lenet5", "4-4-12-6", (17, 16, 3)),
        ("alexnet", "2-8-8-8", (67, 63, 3)),
    ],
)
def test_other_patterns_and_networks(name, bits, shape):
    model = build(name, bits, shape, 0.05)
    images = random_images(shape, 24)
    graph = assert_trains_alike(model, images, np.arange(24) % 10, steps=3, batch=8)
    assert_infers_alike(model, graph, images)


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_strides_and_overlapping_pools(padding):
    keras.utils.set_random_seed(1)
    bits = "2-8-8-8"
    model = keras.Sequential(
        [
            keras.Input((13, 11, 2), dtype="uint8"),
            wage_tf.layers.QRescaling(1 / 128, -1.0, bits),
            wage_tf.layers.QConv2D(6, (3, 4), strides=(2, 1), padding=padding, bits=bits),
            wage_tf.layers.QActivation(bits, activation=None),
            keras.layers.MaxPooling2D((3, 2), strides=(1, 2), padding=padding),
            wage_tf.layers.QConv2D(5, 2, padding=padding, bits=bits),
            wage_tf.layers.QActivation(bits),
            keras.layers.Flatten(),
            wage_tf.layers.QDense(10, bits=bits),
            wage_tf.layers.QError(bits),
        ]
    )
    model.compile(wage_tf.optimizers.IntegerSGD(2.0**LOG2_ETA, seed=SEED), wage_tf.losses.SumSquaredError())
    assert_trains_alike(model, random_images((13, 11, 2), 24), np.arange(24) % 10, steps=3, batch=8)


def test_gradients_equal_keras():
    model = build("lenet5", "2-8-8-8", (16, 16, 1), 0.25)
    images, labels = random_images((16, 16, 1), 8), np.arange(8)
    graph = integer.freeze(model)
    gradients, errors = integer.backward(graph, integer.forward(graph, images), labels)
    with tf.GradientTape() as tape:
        loss = model.loss(np.eye(10, dtype=np.float32)[labels], model(images))
    expected = tape.gradient(loss, [model.get_layer(name).kernel for name in graph.kernels])
    for name, gradient in zip(graph.kernels, [g.numpy() for g in expected], strict=True):
        found = gradients[f"{name}/kernel"]
        assert errors[name].codes.dtype == np.int8
        assert (found.codes * 2.0**-found.fraction == gradient).all()


def test_zero_error_changes_nothing():
    model = build("mlp", "2-8-8-8", (5, 5, 1), 0.05)
    graph = integer.freeze(model)
    after = integer.update(graph, constant_gradients(graph, 0), LOG2_ETA, SEED, 0)
    for name, kernel in graph.kernels.items():
        assert (after.kernels[name].accumulators == kernel.accumulators).all()


def constant_gradients(graph, value):
    return {
        name: integer.Tensor(np.full(parameter.codes.shape, value, np.int32), 0)
        for name, parameter in graph.parameters.items()
    }


def test_images_of_another_kind_are_refused():
    graph = integer.freeze(build("mlp", "2-8-8-8", (5, 5, 1), 0.05))
    for images in (np.zeros((1, 5, 5, 1), np.int32), np.zeros((1, 5, 5, 3), np.uint8)):
        with pytest.raises(UserError, match="images: uint8"):
            integer.forward(graph, images)
    with pytest.raises(UserError, match="labels: class numbers"):
        integer.train_step(graph, np.zeros((2, 5, 5, 1), np.uint8), np.zeros(3, int), LOG2_ETA, SEED, 0)
    for label in (99, 10, -1):
        with pytest.raises(UserError, match=f"labels: class numbers 0 to 9; received {label}"):
            integer.train_step(graph, np.zeros((2, 5, 5, 1), np.uint8), np.array([0, label]), LOG2_ETA, SEED, 0)


def test_targets_are_the_labels_one_hot():
    """Whatever the units of the targets; those finer than the scores' are kept."""
    model = build("mlp", "2-8-8-8", (5, 5, 1), 0.05)
    graph, images, labels = integer.freeze(model), random_images((5, 5, 1), 4), np.array([3, 0, 9, 3])
    outputs = integer.forward(graph, images)
    last = graph.nodes[-1].name
    expected, _ = integer.backward(graph, outputs, labels)
    _, errors = integer.backward(graph, outputs, integer.Tensor(np.full((4, 10), 3), 30))
    assert errors[last].fraction == 30
    assert (errors[last].codes == (outputs[last].codes.astype(int) << (30 - graph.output.fraction)) - 3).all()
    for fraction in (0, 5, 20):
        targets = integer.Tensor(np.eye(10, dtype=int)[labels] << fraction, fraction)
        found, _ = integer.backward(graph, outputs, targets)
        for name, gradient in expected.items():
            shift = found[name].fraction - gradient.fraction
            assert (found[name].codes == gradient.codes << shift).all()


@pytest.mark.parametrize("targets", [np.zeros((2, 9), int), np.zeros((2, 10))])
def test_targets_that_do_not_fit_are_refused(targets):
    graph = integer.freeze(build("mlp", "2-8-8-8", (5, 5, 1), 0.05))
    with pytest.raises(UserError, match="targets: integers of the scores' shape"):
        integer.train_step(graph, np.zeros((2, 5, 5, 1), np.uint8), integer.Tensor(targets, 0), LOG2_ETA, SEED, 0)


def test_a_learning_rate_past_all_accumulators_is_refused():
    graph = integer.freeze(build("mlp", "2-8-8-8", (5, 5, 1), 0.05))
    gradients = constant_gradients(graph, 1)
    integer.update(graph, gradients, 30, SEED, 0)
    with pytest.raises(UserError, match=r"learning rate: at most 2\^30; received 2\^31"):
        integer.update(graph, gradients, 31, SEED, 0)


def test_float_errors_are_refused_in_training():
    graph = integer.freeze(models.build("mlp", "2-8-f-f", (5, 5, 1), 10, width=0.05))
    images = np.zeros((2, 5, 5, 1), np.uint8)
    with pytest.raises(UserError, match=r"fc1: .*k_G = f.*fc1: .*k_E = f"):
        integer.backward(graph, integer.forward(graph, images), np.zeros(2, np.int64))
