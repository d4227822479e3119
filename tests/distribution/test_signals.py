"""A scheduler's SIGTERM reaches all workers at once: the chief finishes its step, the others wait for its end."""

from __future__ import annotations

import os
import signal

import keras
import pytest
import tensorflow as tf

from support.workers import free_ports
from wage_tf.distribution import devices
from wage_tf.distribution.cluster import Cluster
from wage_tf.errors import UserError
from wage_tf.runs import checkpoints
from wage_tf.runs.directory import RunDirectory
from wage_tf.runs.guards import StopOnSignal
from wage_tf.runs.recorder import RunRecorder
from wage_tf.runs.signals import Signals, Stopped


def recorder_of(run):
    recorder = RunRecorder(run, 10)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    recorder.set_model(model)
    return recorder


def train_until(recorder, error):
    """Two steps with a SIGTERM in the first, then an error."""
    with Signals() as signals, StopOnSignal(recorder, signals) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        stop.on_train_batch_end(0)
        stop.on_test_batch_end(0)
        raise error


def test_the_chief_stops_with_a_checkpoint(tmp_path):
    run = RunDirectory(tmp_path)
    run.checkpoints.mkdir()
    with pytest.raises(Stopped):
        train_until(recorder_of(run), AssertionError("not reached"))
    assert len(checkpoints.paths(run.checkpoints)) == 1


def test_another_worker_goes_on_until_the_chief_is_gone():
    with pytest.raises(Stopped) as stopped:
        train_until(recorder_of(None), tf.errors.UnavailableError(None, None, "the chief is gone"))
    assert stopped.value.signum == signal.SIGTERM


def test_without_a_signal_a_lost_worker_is_no_interruption():
    with pytest.raises(tf.errors.UnavailableError), Signals() as signals, StopOnSignal(recorder_of(None), signals):
        raise tf.errors.UnavailableError(None, None, "a worker is gone")


def test_ctrl_c_acts_while_tensorflow_connects_and_its_own_handlers_do_not_stay(monkeypatch):
    """TensorFlow keeps the interpreter's lock there, so that a handler in Python would wait for it."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before, inside = [signal.getsignal(each) for each in signals], []

    def connect():
        inside.append(signal.getsignal(signal.SIGINT))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise RuntimeError("no server")

    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", connect)
    with pytest.raises(UserError, match="several workers cannot start: no server"):
        devices.multiworker(Cluster((f"localhost:{free_ports(1)[0]}",), 0))
    assert inside == [signal.SIG_DFL]
    assert [signal.getsignal(each) for each in signals] == before
