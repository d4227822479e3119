"""The trainer and `fit` against Keras, and what they refuse."""

import contextlib
import os
import signal
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import wage_tf
from support.images import random_images
from wage_tf import integer, native
from wage_tf.errors import UserError
from wage_tf.metrics import ErrorRate
from wage_tf.optimizers import IntegerSGD, gradient_bits

pytestmark = pytest.mark.usefixtures("native_engine")

SHAPE = (16, 16, 1)


def build(width=0.2, rate=None, bits="2-8-8-8", **options):
    keras.utils.set_random_seed(0)
    model = models.build("lenet5", bits, SHAPE, 10, width=width)
    rate = rate or keras.optimizers.schedules.PiecewiseConstantDecay([5], [8.0, 1.0])
    optimizer = IntegerSGD(rate, bits=gradient_bits(model), seed=5, **options)
    model.compile(optimizer, wage_tf.losses.SumSquaredError(), metrics=[ErrorRate()])
    return model


def batches(count=100, size=16):
    images, labels = random_images(SHAPE, count), np.arange(count) % 10
    targets = np.eye(10, dtype=np.float32)[labels]
    return tf.data.Dataset.from_tensor_slices((images, targets)).batch(size)


def assert_same_weights(model, other):
    for weight, expected in zip(model.weights, other.weights, strict=True):
        assert np.array_equal(weight.numpy(), expected.numpy()), weight.path


@pytest.mark.slow
def test_fit_is_keras_fit_bit_for_bit():
    """Three epochs of seven steps, the last of four images; the rate changes within them."""
    model, expected = build(), build()
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append([v.numpy() for v in model.trainable_variables])
    )
    history = integer.fit(model, batches(), epochs=3, callbacks=[look], validation_data=batches(40), verbose=0)
    wanted = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: wanted.append([v.numpy() for v in expected.trainable_variables])
    )
    reference = expected.fit(batches(), epochs=3, callbacks=[look], validation_data=batches(40), verbose=0)
    assert history.history == reference.history
    assert set(history.history) == {"loss", "error", "val_loss", "val_error"}
    for weights, other in zip(seen, wanted, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(weights, other, strict=True))
    assert_same_weights(model, expected)
    assert int(model.optimizer.iterations) == int(expected.optimizer.iterations) == 21


@pytest.mark.slow
def test_engines_take_turns():
    """A training goes on from one engine to the other and back."""
    model, expected = build(), build()
    integer.fit(model, batches(), verbose=0)
    model.fit(batches(), verbose=0)
    integer.fit(model, batches(), verbose=0)
    expected.fit(batches(), epochs=3, verbose=0)
    assert_same_weights(model, expected)


def test_fit_takes_arrays_and_class_numbers():
    model, expected = build(), build()
    images, labels = random_images(SHAPE, 40), np.arange(40) % 10
    pair = integer.fit(model, (images, labels), batch_size=16, shuffle=False, verbose=0)
    dataset = integer.fit(expected, batches(40), verbose=0)
    assert pair.history == dataset.history
    assert_same_weights(model, expected)


@pytest.mark.slow
def test_train_on_batch_and_sync():
    model, expected = build(), build()
    trainer = integer.Trainer(model)
    before = [variable.numpy() for variable in model.trainable_variables]
    for images, targets in batches().as_numpy_iterator():
        logs = trainer.train_on_batch(images, targets.argmax(axis=-1))
        expected.reset_metrics()
        assert logs == pytest.approx(expected.train_on_batch(images, targets, return_dict=True), abs=0)
    assert all(np.array_equal(v.numpy(), old) for v, old in zip(model.trainable_variables, before, strict=True))
    trainer.sync()
    assert_same_weights(model, expected)
    assert int(model.optimizer.iterations) == int(expected.optimizer.iterations)


@pytest.mark.slow
def test_sync_within_an_epoch():
    model, expected = build(), build()
    ends = {}

    def after(step, logs):
        integer.sync(model)
        ends[step] = [v.numpy() for v in model.trainable_variables]

    integer.fit(model, batches(), callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=after)], verbose=0)
    for step, (images, targets) in enumerate(batches().as_numpy_iterator()):
        expected.train_on_batch(images, targets)
        assert all(np.array_equal(a, b.numpy()) for a, b in zip(ends[step], expected.trainable_variables, strict=True))
    integer.sync(model)


def test_a_frozen_layer_stays():
    model, expected = build(), build()
    for network in (model, expected):
        network.get_layer("conv2").trainable = False
        config = network.optimizer.get_config()
        network.compile(IntegerSGD.from_config(config), network.loss, metrics=[ErrorRate()])
    integer.fit(model, batches(), verbose=0)
    expected.fit(batches(), verbose=0)
    assert_same_weights(model, expected)


@pytest.mark.slow
def test_callbacks_change_the_rate_and_stop():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.stop_training = epoch == 1

    model, expected = build(rate=8.0), build(rate=8.0)
    for train, network in ((integer.fit, model), (keras.Model.fit, expected)):
        callbacks = [keras.callbacks.LearningRateScheduler(lambda epoch: 2.0 ** (3 - epoch)), Stop()]
        assert len(train(network, batches(40), epochs=3, callbacks=callbacks, verbose=0).epoch) == 2
    assert_same_weights(model, expected)


def test_weights_that_a_callback_sets_are_those_that_go_on():
    """It turns their signs at the end of an epoch, which the next one and the end see."""

    class Turn(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.set_weights([-weight for weight in self.model.get_weights()])

    model, expected = build(rate=8.0), build(rate=8.0)
    options = {"epochs": 3, "validation_data": batches(40), "callbacks": [Turn()], "verbose": 0}
    history = integer.fit(model, batches(40), **options).history
    assert history == expected.fit(batches(40), **options).history
    assert_same_weights(model, expected)


def test_the_best_weights_are_restored_at_the_end():
    model, expected = build(rate=8.0), build(rate=8.0)
    for train, network in ((integer.fit, model), (keras.Model.fit, expected)):
        best = keras.callbacks.EarlyStopping("loss", mode="max", patience=2, restore_best_weights=True)
        history = train(network, batches(40), epochs=5, callbacks=[best], verbose=0).history
        assert len(history["loss"]) - 1 > best.best_epoch
    assert_same_weights(model, expected)


def test_weights_set_between_two_evaluations_count():
    model, expected = build(), build()
    turned = [-weight for weight in model.get_weights()]
    expected.set_weights(turned)
    with integer.attached(model):
        model.fit(batches(40), verbose=0)
        integer.sync(model)
        trained = model.evaluate(batches(40), verbose=0)
        model.set_weights(turned)
        again = model.evaluate(batches(40), verbose=0)
    assert trained != again
    assert again == expected.evaluate(batches(40), verbose=0)
    assert_same_weights(model, expected)


@pytest.mark.parametrize("count", [70, 100])
def test_several_steps_an_execution_are_several_steps(count):
    model, expected = build(), build()
    for network in (model, expected):
        network.compile(network.optimizer, network.loss, metrics=[ErrorRate()], steps_per_execution=3)
    history = integer.fit(model, batches(count), verbose=0, validation_data=batches(40)).history
    assert history == expected.fit(batches(count), verbose=0, validation_data=batches(40)).history
    assert_same_weights(model, expected)


def test_an_error_in_fit_leaves_the_last_step_in_the_model():
    model, expected = build(), build()

    def stop(step, logs):
        if step == 2:
            raise KeyboardInterrupt

    callbacks = [keras.callbacks.LambdaCallback(on_train_batch_end=stop)]
    with pytest.raises(KeyboardInterrupt):
        integer.fit(model, batches(), callbacks=callbacks, verbose=0)
    for images, targets in batches().take(3).as_numpy_iterator():
        expected.train_on_batch(images, targets)
    assert_same_weights(model, expected)
    model.fit(batches(), verbose=0)  # Keras' own step is back


@pytest.mark.slow
def test_two_trainers_at_once():
    models_, expected = [build(0.1), build(0.2)], [build(0.1), build(0.2)]
    trainers = [integer.Trainer(model, threads=2) for model in models_]
    images, labels = random_images(SHAPE, 16), np.arange(16) % 10

    def train(trainer):
        for _ in range(20):
            trainer.train_on_batch(images, labels)

    threads = [threading.Thread(target=train, args=(trainer,)) for trainer in trainers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for trainer, model, other in zip(trainers, models_, expected, strict=True):
        trainer.sync()
        for _ in range(20):
            other.train_on_batch(images, np.eye(10, dtype=np.float32)[labels])
        assert_same_weights(model, other)


@pytest.mark.slow
def test_batches_may_grow():
    model, expected = build(), build()
    trainer = integer.Trainer(model)
    for size in (3, 20, 7):
        images, labels = random_images(SHAPE, size, seed=size), np.arange(size) % 10
        trainer.train_on_batch(images, labels)
        expected.train_on_batch(images, np.eye(10, dtype=np.float32)[labels])
    trainer.sync()
    assert_same_weights(model, expected)


def test_infer_is_the_same_by_both_backends():
    graph, images = integer.freeze(build()), random_images(SHAPE, 21)
    scores = integer.infer(graph, images, batch=8, backend="native")
    assert np.array_equal(scores, integer.infer(graph, images))
    assert scores.dtype == np.int64
    assert integer.infer(graph, images[:0], backend="native").shape == (0, 10)
    with pytest.raises(UserError, match="backend: one of numpy, native; received 'cuda'"):
        integer.infer(graph, images, backend="cuda")


def test_models_that_are_not_trained_in_integers_are_refused():
    def compiled(optimizer, loss, bits="2-8-8-8"):
        model = models.build("mlp", bits, (5, 5, 1), 10, width=0.05)
        model.compile(optimizer, loss)
        return model

    loss = wage_tf.losses.SumSquaredError()
    cases = {
        "the model is compiled with IntegerSGD; received Adam": compiled("adam", loss),
        "SumSquaredError, summed; received str": compiled(IntegerSGD(8.0), "mse"),
        "IntegerSGD without clipnorm; received 1.0": compiled(IntegerSGD(8.0, clipnorm=1.0), loss),
        "IntegerSGD's bits are those of the layers, 8; received 4": compiled(IntegerSGD(8.0, bits=4), loss),
        r"fc1: .*k_E = f": compiled(IntegerSGD(8.0), loss, "2-8-8-f"),
    }
    for message, model in cases.items():
        with pytest.raises(UserError, match=message):
            integer.Trainer(model)
    with pytest.raises(UserError, match="IntegerSGD; received none"):
        integer.Trainer(models.build("mlp", "2-8-8-8", (5, 5, 1), 10, width=0.05))


def test_a_rate_that_is_no_power_of_two_changes_nothing():
    with pytest.warns(UserWarning, match="power of two"):
        model = build(rate=3.0)
    trainer = integer.Trainer(model)
    before = trainer.graph()
    with pytest.raises(UserError, match=r"learning rate 3\.0 is not a power of two"):
        trainer.train_on_batch(random_images(SHAPE, 4), np.arange(4))
    after = trainer.graph()
    for name, parameter in before.parameters.items():
        assert np.array_equal(after.parameters[name].accumulators, parameter.accumulators)
    assert int(model.optimizer.iterations) == 0


@pytest.mark.parametrize("numbers", [[1, 1, 1, 1], [0, 1, 2, 9]])
def test_class_numbers_in_a_column_are_class_numbers(numbers):
    images, labels = random_images(SHAPE, 4), np.array(numbers)
    model, expected = build(), build()
    history = integer.fit(model, (images, labels[:, None]), verbose=0).history
    assert history == integer.fit(expected, (images, labels), verbose=0).history
    assert_same_weights(model, expected)


def test_a_model_of_one_output_is_refused():
    model = models.build("mlp", "2-8-8-8", (5, 5, 1), 1, width=0.05)
    model.compile(IntegerSGD(8.0), wage_tf.losses.SumSquaredError())
    with pytest.raises(UserError, match="on classes; received a model of one output"):
        integer.fit(model, (random_images((5, 5, 1), 4), np.zeros(4, np.int64)), verbose=0)


def test_targets_that_are_not_one_hot_are_refused():
    targets = np.full((4, 10), 0.1, np.float32)
    with pytest.raises(UserError, match="targets: one-hot"):
        integer.fit(build(), (random_images(SHAPE, 4), targets), verbose=0)


@pytest.mark.parametrize("wrong", [10, -1])
def test_validation_labels_that_are_no_class_are_refused(wrong):
    images, labels = random_images(SHAPE, 4), np.arange(4)
    with pytest.raises(UserError, match=f"labels: class numbers 0 to 9; received {wrong}"):
        integer.fit(build(), (images, labels), validation_data=(images, np.array([0, 1, 2, wrong])), verbose=0)


@pytest.mark.parametrize("images", [np.uint8(7).reshape(()), 5, None, [[0]]])
def test_what_is_no_batch_of_images_is_refused(images):
    trainer = integer.Trainer(build())
    for call in (trainer.scores, lambda images: trainer.train_on_batch(images, np.zeros(1, np.int64))):
        with pytest.raises(UserError, match="images: uint8 of shape"):
            call(images)


def test_without_the_extension_one_line_says_so(monkeypatch):
    monkeypatch.setattr(native, "_extension", lambda: None)
    assert not native.available()
    with pytest.raises(UserError, match="native engine: wage_tf was installed without it; a C compiler"):
        integer.Trainer(build())


@pytest.mark.slow
def test_ctrl_c_ends_within_a_step(tmp_path):
    """A process that trains for ever is interrupted, until Python hears it: not while it runs a callback of its own."""
    script = tmp_path / "train.py"
    script.write_text(
        "import signal, numpy as np, keras, models, wage_tf\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # what runs in the background inherits SIG_IGN
        "model = models.build('vgg7', '2-8-8-8', (32, 32, 3), 10, width=0.25)\n"
        "model.compile(wage_tf.optimizers.IntegerSGD(8.0, seed=1), wage_tf.losses.SumSquaredError())\n"
        "trainer = wage_tf.integer.Trainer(model)\n"
        "images, labels = np.zeros((8, 32, 32, 3), np.uint8), np.arange(8)\n"
        "trainer.train_on_batch(images, labels)\n"
        "print('begin', flush=True)\n"
        "while True:\n"
        "    trainer.train_on_batch(images, labels)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    log = tmp_path / "errors"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, script], stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
    try:
        assert process.stdout.readline() == "begin\n"
        for _ in range(20):
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
                break
        assert process.returncode is not None
        assert "KeyboardInterrupt" in log.read_text()
    finally:
        process.kill()
        process.communicate()
