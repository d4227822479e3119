"""Runs in a process of its own with four logical CPU devices and prints what it found as JSON.

python mirrored_cases.py     (PYTHONPATH: the repository)
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import sys
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

import train
from wage_tf import datasets, layers, quantizers, recipes, replicas
from wage_tf.bits import NetworkBits
from wage_tf.distribution import devices as devices_module
from wage_tf.distribution.devices import Devices
from wage_tf.distribution.trainer import replicate
from wage_tf.losses import SumSquaredError
from wage_tf.optimizers import IntegerSGD
from wage_tf.runs import training
from wage_tf.runs.config import Data, resolve
from wage_tf.runs.recorder import RunRecorder

NAN, INF = float("nan"), float("inf")


def on_cpus(count):
    tf.distribute.MirroredStrategy._collective_key_base += 100_000  # as TensorFlow's tests do for several in a process
    return Devices(tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)]))


def run(devices, model="lenet5", limit=613, bits="2-8-8-8", epochs=3, eta=8.0, tested=0):
    """Trains in batches of 96 digits, by default six and one of 37; returns the weights and the recorder."""
    dataset = datasets.load("digits", limit=limit + tested)
    dataset = dataset.split_validation(tested) if tested else dataclasses.replace(dataset, test=None)
    settings = {"dataset": "digits", "model": model, "width": 0.1, "bits": NetworkBits.parse(bits), "batch_size": 96}
    settings |= {"epochs": max(epochs, 1), "schedule": ((0, eta),), "seed": 3, "histogram_freq": 0}
    config = resolve(Data.of(dataset), recipes.get("digits"), **settings)
    prepared = training.prepare(config, dataset, devices)
    recorder = RunRecorder(None, dataset.steps_per_epoch(96))
    if epochs:
        training.fit(prepared, config, dataset, recorder, verbose=0)
    assert int(np.asarray(prepared.optimizer.iterations)) == recorder.step
    return [np.asarray(variable) for variable in prepared.trainable_variables], recorder


def differences(one, other):
    weights = sum(int(np.sum(a != b)) for a, b in zip(one[0], other[0], strict=True))
    return {"steps": one[1].step, "weights": weights, "rows_equal": one[1].rows == other[1].rows}


def trainings():
    """How many weights differ from those of one device, and whether the history does."""
    found = {}
    found["lenet5, 2 replicas"] = differences(run(None), run(on_cpus(2)))
    two_left = {"model": "mlp", "limit": 578, "tested": 101}
    alone = run(None, **two_left)
    for count in (1, 3):
        found[f"mlp, {count} replicas"] = differences(alone, run(on_cpus(count), **two_left))
    with mock.patch.object(replicas, "maximum", lambda magnitude: magnitude):
        found["own maxima"] = differences(alone, run(on_cpus(2), **two_left))
    floats = {"model": "mlp", "limit": 192, "bits": "2-8-f-f", "eta": 2.0**-7}
    start, one = (run(None, **floats, epochs=epochs) for epochs in (0, 2))
    found["float gradients"] = {
        "moved": furthest(start, one),
        "apart": furthest(one, run(on_cpus(2), **floats, epochs=2)),
    }
    return found


def furthest(one, other):
    return max(float(np.max(np.abs(a - b))) for a, b in zip(one[0], other[0], strict=True))


def float_variables():
    """A float layer beside quantized ones: weights, and the state of both optimizers."""
    x = (np.random.default_rng(0).integers(-127, 128, (16, 12)) / 128).astype(np.float32)
    targets = np.eye(4, dtype=np.float32)[np.arange(16) % 4]

    def trained(devices):
        keras.utils.set_random_seed(5)
        with devices.scope():
            inputs = keras.Input((12,))
            hidden = layers.QActivation()(keras.layers.Dense(8)(inputs))
            model = keras.Model(inputs, layers.QError()(layers.QDense(4)(hidden)))
            optimizer = IntegerSGD(8.0, 8, seed=3)
        model = replicate(model, devices)
        model.compile(optimizer, SumSquaredError())
        model.fit(x, targets, batch_size=8, epochs=3, shuffle=False, verbose=0)
        return [np.asarray(variable) for variable in [*model.trainable_variables, *model.optimizer.variables]]

    alone, together = trained(Devices(None)), trained(on_cpus(2))
    furthest = [float(np.max(np.abs(a.astype(float) - b))) for a, b in zip(alone, together, strict=True)]
    return {"furthest": furthest, "steps": [int(alone[3]), int(together[3])]}


def errors():
    """Q_E of a batch that is cut into unequal parts, against Q_E of the whole."""
    generator = np.random.default_rng(0)
    whole = generator.normal(size=(10, 7)).astype(np.float32)
    whole[0] *= 1e-3
    x = generator.normal(size=whole.shape).astype(np.float32)
    found = {}
    strategy = on_cpus(3).strategy

    @tf.function(autograph=False)
    def on_replicas(x, upstream):
        def one(x, upstream):
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            first, stop = tf.gather([0, 3, 4], replica), tf.gather([3, 4, 10], replica)
            return backward(x[first:stop], upstream[first:stop])

        return [strategy.gather(part, axis=0) for part in strategy.run(one, args=(x, upstream))]

    for name, special in {"normal": None, "nan": NAN, "inf": INF, "zeros": 0.0}.items():
        upstream = np.zeros_like(whole) if special == 0.0 else whole.copy()
        if special:
            upstream[8, 2], x[8, 2] = special, 0.25
        expected, together = backward(x, upstream), on_replicas(tf.constant(x), tf.constant(upstream))
        found[name] = [bool(np.array_equal(a, b, equal_nan=True)) for a, b in zip(expected, together, strict=True)]
    return found


def backward(x, upstream):
    """Q_E alone, and fused with ReLU and Q_A."""
    found = []
    for function in (quantizers.quantize_error, quantizers.quantized_relu):
        with tf.GradientTape() as tape:
            inputs = tf.convert_to_tensor(x)
            tape.watch(inputs)
            outputs = function(inputs, "2-8-8-8")
        found.append(tape.gradient(outputs, inputs, tf.convert_to_tensor(upstream)))
    return found


def command_line():
    """A batch that does not divide; and logical devices asked for when TensorFlow has already started."""
    arguments = ["--strategy", "mirrored", "--logical-devices", "4", "--run-dir", "never-made", "--batch-size", "30"]
    found = {}
    for name in ("batch", "too late"):
        error = io.StringIO()
        with contextlib.redirect_stderr(error):
            code = train.main(arguments)
        found[name] = [code, error.getvalue()]
        devices_module.one_device()
        tf.constant(0) + 1
        arguments[3] = "3"
    return found


if __name__ == "__main__":
    results = {"command line": command_line(), "errors": errors(), "trainings": trainings()}
    results["float variables"] = float_variables()
    json.dump(results, sys.stdout)
