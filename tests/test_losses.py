import keras
import numpy as np
import pytest
import tensorflow as tf

from support.tensors import assert_equal
from wage_tf.losses import SumSquaredError
from wage_tf.metrics import ErrorRate, ReconstructionError

Y = np.array([[0.5, -0.25, 1.0], [0.0, 0.75, -2.0]], np.float32)
T = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32)


def test_value_is_the_sum_over_outputs_and_batch():
    assert float(SumSquaredError()(T, Y)) == 0.5 * float(np.sum((Y - T) ** 2)) == 2.6875


def test_gradient_is_the_difference():
    y = tf.constant(Y)
    with tf.GradientTape() as tape:
        tape.watch(y)
        loss = SumSquaredError()(T, y)
    assert_equal(tape.gradient(loss, y), Y - T)


def test_batch_is_not_averaged():
    twice = SumSquaredError()(np.tile(T, (2, 1)), np.tile(Y, (2, 1)))
    assert float(twice) == 2 * float(SumSquaredError()(T, Y))


def test_reductions():
    per_example = 0.5 * np.sum((Y - T) ** 2, axis=1)
    assert_equal(SumSquaredError(reduction="none")(T, Y), per_example)
    assert float(SumSquaredError(reduction="sum_over_batch_size")(T, Y)) == per_example.mean()


def test_sample_weights():
    assert float(SumSquaredError()(T, Y, sample_weight=np.array([0.0, 2.0]))) == np.sum((Y - T)[1] ** 2)


def test_other_target_dtypes():
    for dtype in (np.float64, np.int64, np.uint8, bool):
        assert float(SumSquaredError()(T.astype(dtype), Y)) == 2.6875


LABELS = [
    np.array([0, 1]),
    np.array([[0], [1]]),
    np.array([0.0, 1.0]),
    np.array([0, 1], np.uint8),
    np.array([[0], [1]], np.int64),
]


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("mode", [{}, {"jit_compile": False}, {"jit_compile": True}])
def test_labels_are_their_one_hot_targets(labels, mode):
    def loss_and_gradient(targets, y):
        with tf.GradientTape() as tape:
            tape.watch(y)
            loss = SumSquaredError()(targets, y)
        return loss, tape.gradient(loss, y)

    function = tf.function(loss_and_gradient, **mode) if mode else loss_and_gradient
    loss, gradient = function(tf.constant(labels), tf.constant(Y))
    assert float(loss) == 2.6875
    assert_equal(gradient, Y - T)
    assert_equal(SumSquaredError(reduction="none")(labels, Y), 0.5 * np.sum((Y - T) ** 2, axis=1))


@pytest.mark.parametrize("labels", [np.array([0, 3]), np.array([-1, 1]), np.array([0.2, 1.0])])
def test_a_label_that_is_no_class_gives_nan(labels):
    assert np.isnan(float(SumSquaredError()(labels, Y)))


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_a_single_output_has_values_and_no_classes(shape):
    values, y = np.array([0.25, -3.0, 7.0], np.float32), np.array([[0.0], [-3.0], [5.0]], np.float32)
    assert float(SumSquaredError()(values.reshape(shape), y)) == 0.5 * (0.25**2 + 2**2)


def test_labels_of_every_position():
    y = np.arange(24, dtype=np.float32).reshape(2, 2, 2, 3)
    labels = np.array([[[0, 1], [2, 0]], [[1, 1], [2, 2]]])
    assert float(SumSquaredError()(labels, y)) == float(SumSquaredError()(np.eye(3, dtype=np.float32)[labels], y))


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 1), (3,), (2, 2), (1, 3)])
def test_targets_of_another_shape_are_refused(shape):
    """One row of targets must not be broadcast over the batch."""
    for use in (SumSquaredError(), ErrorRate()):
        with pytest.raises(
            ValueError, match=r"targets are one-hot, of the outputs' shape .2, 3., or integer"
        ) as caught:
            use(np.zeros(shape), Y)
        assert f"received {shape}" in str(caught.value)


def test_fit_and_evaluate_take_labels_as_one_hot_targets():
    labels = np.array([0, 1, 2, 0] * 3)
    inputs = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
    found = []
    for targets in (labels, labels[:, None], np.eye(3, dtype=np.float32)[labels]):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        model.compile("sgd", SumSquaredError(), metrics=[ErrorRate()])
        history = model.fit(inputs, targets, batch_size=5, epochs=2, verbose=0).history
        found.append([history, model.evaluate(inputs, targets, verbose=0)])
    assert found[0] == found[1] == found[2]


def test_error_rate():
    metric = ErrorRate()
    metric.update_state(T, Y)  # the first is taken for class 2, the second is right
    assert float(metric.result()) == 50.0
    metric.update_state(T, T)
    assert float(metric.result()) == 25.0
    metric.reset_state()
    metric.update_state(T, T)
    assert float(metric.result()) == 0.0
    assert metric.name == "error"
    assert ErrorRate(name="test_error").name == "test_error"


@pytest.mark.parametrize("labels", LABELS)
def test_error_rate_takes_labels(labels):
    metric = ErrorRate()
    metric.update_state(labels, Y)
    assert float(metric.result()) == 50.0


def test_error_rate_needs_an_output_for_each_class():
    with pytest.raises(ValueError, match="at least two; received outputs of"):
        ErrorRate()(np.ones((2, 1)), np.zeros((2, 1)))


def test_reconstruction_error():
    """The mean square over examples and outputs, of batches of any size."""
    metric = ReconstructionError()
    metric.update_state(np.zeros((1, 4), np.float32), np.full((1, 4), 0.5, np.float32))
    assert float(metric.result()) == 25.0
    metric.update_state(np.zeros((3, 4), np.float32), np.array([[1, 0, 0, 0]] * 3, np.float32))
    assert float(metric.result()) == 25.0
    metric.update_state(np.ones((4, 4), np.float32), np.ones((4, 4), np.float32))
    assert float(metric.result()) == 12.5
    assert metric.name == "error"


def test_error_rate_in_evaluate():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
    model.compile("sgd", SumSquaredError(), metrics=[ErrorRate()])
    result = model.evaluate(Y, T, verbose=0, return_dict=True)
    assert result == {"loss": 2.6875, "error": 50.0}
