"""How workers begin together, without their processes; and what a replicated model refuses."""

from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from wage_tf import checkpoints
from wage_tf.checkpoints import State
from wage_tf.distribution.agreement import open_together
from wage_tf.distribution.devices import Devices, WorkerLost
from wage_tf.distribution.trainer import replicate, single
from wage_tf.errors import UserError
from wage_tf.optimizers import IntegerSGD
from wage_tf.runs import RunConfig

CONFIG = RunConfig("mnist", None, "2-8-8-8", None, "mlp", 1.0, 96, 3, "8@0", 0, None, None, 0, 0)
STATE = State(7, ({"epoch": 1},), 1.5, [np.ones(3, np.float32)], [np.array(7)], [])


class Line(Devices):
    """Workers that pass a message through a list."""

    sent: list[bytes] = []  # noqa: RUF012

    def from_chief(self, content):
        if self.is_chief:
            self.sent[:] = [content]
        return self.sent[0]


def never():
    raise AssertionError("only the chief opens the run")


def test_everyone_goes_on_from_the_chiefs_state():
    for state in (None, STATE):
        open_together(Line(worker=0, workers=2), CONFIG, lambda state=state: state)
        found = open_together(Line(worker=1, workers=2), CONFIG, never)
        assert (found is None) == (state is None)
    assert checkpoints.to_bytes(found) == checkpoints.to_bytes(STATE)


def test_what_the_chief_refuses_everyone_refuses():
    def refuse():
        raise UserError("not here")

    for worker, open_run in ((0, refuse), (1, never)):
        with pytest.raises(UserError, match="not here"):
            open_together(Line(worker=worker, workers=2), CONFIG, open_run)


@pytest.mark.parametrize(("change", "message"), [({"seed": 1}, "seed 1, the chief with 0"), ({"data_dir": "x"}, None)])
def test_workers_with_other_arguments(change, message):
    open_together(Line(worker=0, workers=2), CONFIG, lambda: None)
    other = dataclasses.replace(CONFIG, **change)
    if message is None:
        assert open_together(Line(worker=1, workers=2), other, never) is None
        return
    with pytest.raises(UserError, match=f"worker 1 was started with {message}"):
        open_together(Line(worker=1, workers=2), other, never)


def test_the_lost_worker_is_named():
    report = (
        "Graph execution error:\n\nDetected at node x\nCollective ops is aborted by: Error reported from "
        "/job:worker/task:2: The following tasks are unhealthy (stopped sending heartbeats):\n"
        "/job:worker/replica:0/task:1\nThe error could be from a previous operation."
    )
    devices = Devices(tf.distribute.get_strategy(), workers=3)
    with pytest.raises(WorkerLost, match=r"^no answer from worker 1$"), devices.reporting_lost_workers():
        raise tf.errors.UnavailableError(None, None, report)


def test_other_errors_are_not_taken_for_lost_workers():
    devices = Devices(tf.distribute.get_strategy(), workers=3)
    with pytest.raises(tf.errors.InvalidArgumentError), devices.reporting_lost_workers():
        raise tf.errors.InvalidArgumentError(None, None, "shapes do not match")


def model_on_one_replica(loss):
    devices = Devices(tf.distribute.MirroredStrategy(["CPU:0"]))
    with devices.scope():
        image = keras.Input((2,))
        model = keras.Model(image, keras.layers.Dense(1)(image))
        optimizer = IntegerSGD(1.0, bits=None, seed=0)
    replicated = replicate(model, devices)
    replicated.compile(optimizer, loss)
    return replicated


def test_a_mean_loss_is_refused():
    with pytest.raises(ValueError, match="one sum over the batch"):
        model_on_one_replica(keras.losses.MeanSquaredError())


def test_the_saved_model_is_a_plain_one(tmp_path):
    replicated = model_on_one_replica(keras.losses.MeanSquaredError(reduction="sum"))
    single(replicated).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded).__name__ == "Functional"
    x = np.ones((4, 2), np.float32)
    np.testing.assert_array_equal(loaded(x), replicated(x))
    assert "optimizer" in json.dumps(loaded.get_compile_config())
