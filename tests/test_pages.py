"""The Python examples of the README and of the guides run as they stand, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from support.images import random_images

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


def names_after(page, count, **given):
    """What a page's examples define; there are `count` of them."""
    examples = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert len(examples) == count
    for number, example in enumerate(examples):
        exec(compile(example, f"{page}, example {number + 1}", "exec", dont_inherit=True), given)
    return given


def test_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, labels = random_images((32, 32, 3), 6), np.arange(6)
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
    names = names_after("README.md", 1, my_keras_model=own, some_training_images=images, **given)
    assert (tmp_path / "net.tflite").stat().st_size > 0
    assert int(names["model"].optimizer.iterations) == 3


def test_networks():
    names = names_after("docs/networks.md", 4)
    assert names["comparison"].equal
    assert {names["model"].get_layer(f"fc{place}").bits.w for place in range(1, 11)} == {8}
    assert names["scores"].shape == (64,)
    assert names["one_dimensional"].output_shape == (None, 10)


def test_your_network():
    names = names_after("docs/your_network.md", 9)
    assert names["error"] < 40
    assert names["error_with_floats"] < 40
    assert float(names["model"].evaluate(*names["test"], verbose=0, return_dict=True)["error"]) < 40
    assert names["model"].optimizer.float_optimizer.built is False
    assert np.all(np.abs(names["head"].layers[-2].kernel.numpy()) <= 0.5)
