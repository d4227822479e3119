"""How workers begin together, without their processes; and what a replicated model refuses."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import errno
import json
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from wage_tf import recipes
from wage_tf.cli import train, training
from wage_tf.distribution.agreement import check_same_arguments, on_every_worker, open_together
from wage_tf.distribution.devices import Devices, WorkerLost
from wage_tf.distribution.trainer import replicate, single
from wage_tf.errors import UserError
from wage_tf.optimizers import IntegerSGD
from wage_tf.runs import checkpoints
from wage_tf.runs.checkpoints import State
from wage_tf.runs.config import Data, resolve
from wage_tf.runs.signals import Signals

DATA = Data(classes=("0", "1"), input_shape=(28, 28, 1), train_size=9, test_size=0, digest="0")
CONFIG = resolve(DATA, recipes.get("mnist"), dataset="mnist")
LOST = r"^another worker was lost \(no answer from worker 1\); start all of them again with --resume$"
STATE = State(7, ({"epoch": 1},), 1.5, [np.ones(3, np.float32)], [np.array(7)], [])


class Wire:
    """Adds the arrays of `workers` threads; each gets the sum once all have given theirs."""

    def __init__(self, workers):
        self.given = []
        self.barrier = threading.Barrier(workers, self.add, timeout=60)

    def add(self):
        self.total = sum(self.given)
        self.given = []

    def sum(self, values):
        self.given.append(values)
        self.barrier.wait()
        return self.total


@dataclasses.dataclass(frozen=True)
class Thread(Devices):
    """A worker that is a thread of this process."""

    wire: Wire | None = None

    def _sum(self, values):
        return self.wire.sum(values)


def on_threads(*functions):
    """What the functions return or raise as workers of one training, each called with its devices."""
    wire = Wire(len(functions))

    def outcome(worker):
        try:
            return functions[worker](Thread(worker=worker, workers=len(functions), wire=wire))
        except (UserError, OSError) as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(outcome, range(len(functions))))


def refuse(error):
    raise error


def never():
    raise AssertionError("only the chief opens the run")


def test_everyone_goes_on_from_the_chiefs_state():
    for state in (None, STATE):
        chiefs, found = on_threads(
            lambda devices, state=state: open_together(devices, lambda: state),
            lambda devices: open_together(devices, never),
        )
        assert [chiefs is None, found is None] == [state is None] * 2
    for each in (chiefs, found):
        assert checkpoints.to_bytes(each) == checkpoints.to_bytes(STATE)


@pytest.mark.parametrize("error", [UserError("not here"), OSError(errno.EACCES, "not here", "runs")])
def test_what_the_chief_refuses_everyone_refuses(error):
    chiefs, others = on_threads(
        lambda devices: open_together(devices, lambda: refuse(error)), lambda devices: open_together(devices, never)
    )
    assert chiefs is error
    assert isinstance(others, UserError)
    assert "not here" in str(others)


@pytest.mark.parametrize("error", [UserError("no data here"), OSError(errno.EACCES, "not readable", "images")])
def test_where_one_worker_cannot_start_the_others_end_too(error):
    chiefs, own, others = on_threads(
        lambda devices: on_every_worker(devices, lambda: 0),
        lambda devices: on_every_worker(devices, lambda: refuse(error)),
        lambda devices: on_every_worker(devices, lambda: 2),
    )
    assert own is error
    for found in (chiefs, others):
        assert isinstance(found, UserError)
        assert str(found) == "another worker cannot start: see its output"


def test_where_all_can_start_they_do():
    assert on_threads(*[lambda devices, n=n: on_every_worker(devices, lambda: n) for n in range(3)]) == [0, 1, 2]


def test_data_may_lie_elsewhere():
    other = resolve(DATA, recipes.get("mnist"), dataset="mnist", data_dir="x")
    assert on_threads(*[lambda devices, c=c: check_same_arguments(devices, c) for c in (CONFIG, other)]) == [None, None]


def started(devices, arguments):
    args = train.parser().parse_args(arguments)
    training._train_on(devices, args, Signals())


@pytest.mark.parametrize(
    ("flag", "message"),
    [("--width=0.5", "width 0.5"), ("--model=lenet5", "model lenet5"), ("--bits=3,8,8,8", "bits 3-8-8-8")],
)
def test_workers_with_other_arguments_end_before_the_model_is_built(flag, message, monkeypatch):
    monkeypatch.setattr("wage_tf.runs.training.prepare", never)
    arguments = ["--dataset=digits", "--model=mlp", "--width=0.25"]
    chiefs, others, same = on_threads(
        *[lambda devices, more=more: started(devices, [*arguments, *more]) for more in ([], [flag], [])]
    )
    assert f"worker 1 was started with {message}, the chief with" in str(others)
    for found in (chiefs, same):
        assert str(found) == "another worker was started with other arguments than the chief's: see its output"


def test_the_lost_worker_is_named():
    report = (
        "Graph execution error:\n\nDetected at node x\nCollective ops is aborted by: Error reported from "
        "/job:worker/task:2: The following tasks are unhealthy (stopped sending heartbeats):\n"
        "/job:worker/replica:0/task:1\nThe error could be from a previous operation."
    )
    devices = Devices(tf.distribute.get_strategy(), workers=3)
    with pytest.raises(WorkerLost, match=LOST), devices.reporting_lost_workers():
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
