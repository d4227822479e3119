"""The guard against trainings that stand still."""

from __future__ import annotations

import keras
import pytest

from wage_tf.search.guards import CannotTrain, StopOnStandstill


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
