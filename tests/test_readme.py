"""The README's Python example runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.mark.slow
def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (converts,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    labels = np.arange(6)
    own = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, strides=2),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    given = {"images": images, "labels": labels, "one_hot_labels": np.eye(10, dtype=np.float32)[labels]}
    given |= {"my_keras_model": own, "some_training_images": images}
    exec(converts, given)
    assert (tmp_path / "net.tflite").stat().st_size > 0
    assert int(given["model"].optimizer.iterations) == 3
