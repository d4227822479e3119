"""A float layer beside quantized ones on two devices of one machine: the float optimizer's state too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import json
import keras, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0],
                                           [tf.config.LogicalDeviceConfiguration()] * 2)
from wage_tf.distribution.devices import Devices
from wage_tf.distribution.trainer import replicate
from wage_tf.layers import QActivation, QDense, QError
from wage_tf.losses import SumSquaredError
from wage_tf.optimizers import IntegerSGD

x = (np.random.default_rng(0).integers(-127, 128, (16, 12)) / 128).astype(np.float32)
t = np.eye(4, dtype=np.float32)[np.arange(16) % 4]

def run(strategy):
    keras.utils.set_random_seed(5)
    devices = Devices(strategy)
    with devices.scope():
        inputs = keras.Input((12,))
        hidden = QActivation()(keras.layers.Dense(8)(inputs))
        model = keras.Model(inputs, QError()(QDense(4)(hidden)))
        optimizer = IntegerSGD(8.0, 8, seed=3)
    model = replicate(model, devices)
    model.compile(optimizer, SumSquaredError())
    model.fit(x, t, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return [np.asarray(v) for v in [*model.trainable_variables, *model.optimizer.variables]]

alone, together = run(None), run(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
furthest = [float(np.max(np.abs(a.astype(float) - b))) for a, b in zip(alone, together, strict=True)]
print(json.dumps({"furthest": furthest, "steps": [int(alone[3]), int(together[3])]}))
"""


@pytest.mark.slow
def test_two_devices_end_with_the_variables_of_one():
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["steps"] == [6, 6]
    assert len(found["furthest"]) == 3 + 2 + 2 + 2 * 2
    assert found["furthest"][2] == 0.0
    assert max(found["furthest"]) < 1e-6
