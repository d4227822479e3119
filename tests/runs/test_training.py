"""The rate that a schedule gives to Keras; no numbers in loss or weights end a training with the layer's name."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import models
from wage_tf import schedules
from wage_tf.runs.guards import Diverged, StopOnNonFinite
from wage_tf.runs.training import learning_rate


def test_the_schedule_changes_with_the_first_step_of_its_epoch():
    rate = learning_rate(schedules.parse("8@0,1@2,0.125@3"), steps_per_epoch=10)
    assert [float(rate(step)) for step in (0, 19, 20, 29, 30, 99)] == [8, 8, 1, 1, 0.125, 0.125]


def test_one_rate_is_a_number():
    assert learning_rate(((0, 8.0),), 10) == 8.0


@pytest.fixture
def model():
    return models.build("lenet5", "2-8-8-8", (16, 16, 1), 4, width=0.25)


@pytest.fixture
def guard(model):
    guard = StopOnNonFinite()
    guard.set_model(model)
    return guard


def test_non_finite_weights_are_found_at_the_end_of_an_epoch(model, guard):
    kernel = model.get_layer("conv2").kernel
    kernel.assign(tf.fill(kernel.shape, np.nan))
    with pytest.raises(Diverged, match=r"layer conv2; try a smaller learning rate$"):
        guard.on_epoch_end(0)


def test_a_loss_that_is_no_number_stops_at_once(guard):
    guard.on_train_batch_end(0, {"loss": 1.0})
    with pytest.raises(Diverged, match="the loss is nan"):
        guard.on_train_batch_end(1, {"loss": float("nan")})
