"""The guards against trainings that stand still."""

from __future__ import annotations

import contextlib

import keras
import numpy as np
import pytest

import models
import wage_tf
from wage_tf.layers import QDense
from wage_tf.search.guards import CannotTrain, StopOnClipping, StopOnStandstill


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    return model


def epochs(guard, model, errors, moves=True):
    guard.set_model(model)
    for epoch, error in enumerate(errors):
        guard.on_epoch_begin(epoch)
        if moves:
            model.weights[0].assign_add([[1.0], [1.0]])
        guard.on_epoch_end(epoch, {"val_error": error})


def test_progress_is_left_alone(model):
    epochs(StopOnStandstill(90.0, 4), model, [90.0, 50.0, 90.0, 40.0])


def test_weights_that_do_not_move(model):
    with pytest.raises(CannotTrain, match="epoch 1 changed no weight"):
        epochs(StopOnStandstill(90.0, 4), model, [50.0], moves=False)


@pytest.mark.parametrize(("errors", "last"), [([50.0, 90.0, 91.0, 0.0], 3), ([50.0, 50.0, 50.0, 90.0], 4)])
def test_chance_twice_in_a_row_or_at_the_end(model, errors, last):
    with pytest.raises(CannotTrain, match=f"chance.*after epoch {last}"):
        epochs(StopOnStandstill(90.0, 4), model, errors)


@pytest.mark.parametrize(("wrong", "stuck"), [(200_000, True), (199_999, False)])
def test_chance_is_met_to_the_rounding_of_float32_and_not_to_an_image(model, wrong, stuck):
    """Of three classes the metric gives 66.666664, and chance is 66.66666666666667."""
    error = np.float32(100 * wrong) / np.float32(300_000)
    with pytest.raises(CannotTrain, match="chance") if stuck else contextlib.nullcontext():
        epochs(StopOnStandstill(100.0 * (1.0 - 1 / 3), 1), model, [float(error)])


def at_the_clip(target, eta=8.0):
    """Weights at the upper clip that all are to grow (target 100) or to shrink (target -100), and their batch."""
    model = keras.Sequential([keras.Input((8,)), QDense(20)])
    model.compile(wage_tf.optimizers.IntegerSGD(eta, seed=0), wage_tf.losses.SumSquaredError())
    model.layers[0].kernel.assign(np.full((8, 20), 0.5))
    return model, np.ones((4, 8), np.float32), np.full((4, 20), target, np.float32)


def test_updates_that_the_clip_undoes_end_the_training_before_its_first_step():
    model, x, y = at_the_clip(100.0)
    with pytest.raises(CannotTrain, match=r"the clip takes 100.0% of the update after 0 steps"):
        model.fit(x, y, verbose=0, callbacks=[StopOnClipping(x, y)])


def test_updates_away_from_the_clip_are_left_alone():
    model, x, y = at_the_clip(-100.0)
    model.fit(x, y, verbose=0, callbacks=[StopOnClipping(x, y)])
    assert (model.layers[0].kernel.numpy() < 0.5).all()


def test_clipping_that_comes_later_is_seen_within_a_few_steps():
    """In three steps the weights come from -0.5 to 0.5, and are to grow on."""
    model, x, y = at_the_clip(100.0, eta=64.0)
    model.layers[0].kernel.assign(np.full((8, 20), -0.5))
    with pytest.raises(CannotTrain, match="after 4 steps"):
        model.fit(x, y, epochs=5, verbose=0, callbacks=[StopOnClipping(x, y)])


def test_a_handful_of_clipped_updates_says_nothing():
    model = keras.Sequential([keras.Input((8,)), QDense(2)])
    model.compile(wage_tf.optimizers.IntegerSGD(8.0, seed=0), wage_tf.losses.SumSquaredError())
    model.layers[0].kernel.assign(np.full((8, 2), 0.5))
    x, y = np.ones((4, 8), np.float32), np.full((4, 2), 100.0, np.float32)
    model.fit(x, y, verbose=0, callbacks=[StopOnClipping(x, y)])


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["1-8-8-8", "2-8-f-f", "f-f-f-f"])
def test_healthy_networks_are_left_alone(bits, digits):
    """Binary weights all stand at the clip at first: the closest a network that trains comes to it."""
    images, targets = digits
    model = models.build("mlp", bits, (8, 8, 1), 10, width=0.05)
    rate = 8.0 if bits.endswith("8") else 2.0**-8
    optimizer = wage_tf.optimizers.IntegerSGD(rate, bits=bits, seed=0)
    model.compile(optimizer, wage_tf.losses.SumSquaredError())
    guard = StopOnClipping(images[:32], targets[:32])
    model.fit(images[:640], targets[:640], batch_size=32, epochs=1, verbose=0, callbacks=[guard])
    assert guard._next_look == 64
