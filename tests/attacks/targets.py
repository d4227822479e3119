"""What is attacked, before any damage: a run, a search, packed models, images, records and a float model."""

from __future__ import annotations

import random
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from attacks.judging import answer
from support.prepared import prepare_small
from wage_tf.cli import export, train, tune

TINY = ("--model", "mlp", "--width", "0.05", "--histogram-freq", "0", "--epochs", "2")
SEARCH = ("--model", "mlp", "--width", "0.25", "--limit", "500", "--learning-rates", "8", "--epochs", "1")
SEARCH += ("--weights", "2,8")


def made(path: Path) -> Path:
    """The folder of all of them, which is made if it is not there."""
    if path.exists():
        return path
    path.mkdir()
    _images(path / "images")
    prepare_small("mnist", path / "tfds", _digits, {"train": 24, "test": 9})
    (path / "float").mkdir()
    _float_model().save(path / "float" / "model.keras")
    (path / "packed").mkdir()
    packed = (path / "run", "--to", "packed")
    for command, words in (
        (train.main, [*TINY, "--dataset", path / "images", "--run-dir", path / "run"]),
        (tune.main, [*SEARCH, "--run-dir", path / "search"]),
        (export.main, [*packed, "--out", path / "packed" / "codes.wage"]),
        (export.main, [*packed, "--accumulators", "--out", path / "packed" / "accumulators.wage"]),
    ):
        if code := answer(command, *words):
            raise RuntimeError(f"the whole target cannot be made, exit code {code}: {words}")
    return path


def any_file(folder: Path, rng: random.Random) -> Path:
    """One of the files under a folder that a command reads."""
    found = (path for path in folder.rglob("*") if path.is_file() and "tensorboard" not in path.parts)
    return rng.choice(sorted(found))


def _float_model() -> keras.Model:
    layers = keras.layers
    convolution = layers.Conv2D(4, 3, strides=2, activation="relu")
    return keras.Sequential(
        [keras.Input((8, 8, 1)), convolution, layers.Flatten(), layers.Dense(2, activation="softmax")]
    )


def _images(path: Path) -> None:
    for part, class_name, number in ((p, c, n) for p in ("train", "test") for c in "ab" for n in range(6)):
        image = path / part / class_name / f"{number}.{('png', 'bmp', 'jpg')[number % 3]}"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)).save(image)


def _digits(count: int) -> object:
    for number in range(count):
        yield f"{number}", {"image": np.full((28, 28, 1), number, np.uint8), "label": number % 10}
