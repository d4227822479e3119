"""Images for the tests: real ones, random ones, and folders of plain ones."""

import functools
import os
import pathlib

import numpy as np
import pytest
from PIL import Image


@functools.cache
def real_images(dataset: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images and class numbers of a TFDS data set; skips the test where TFDS_DATA_DIR does not hold it."""
    data_dir = os.environ.get("TFDS_DATA_DIR")
    if not data_dir or not (pathlib.Path(data_dir) / dataset).is_dir():
        pytest.skip(f"TFDS_DATA_DIR names no folder with {dataset}")
    import tensorflow_datasets as tfds

    loaded = tfds.load(dataset, split=split, batch_size=-1, as_supervised=True, data_dir=data_dir, download=False)
    return tfds.as_numpy(loaded)


def random_images(shape: tuple[int, ...], count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


def image_folder(path, classes=("a", "b"), size=(8, 8), mode="RGB", count=2):
    """Writes `path`/train/CLASS/0.png and so on, one colour each, for a class a name; returns `path`."""
    for label, name in enumerate(classes):
        (path / "train" / name).mkdir(parents=True)
        for index in range(count):
            Image.new(mode, size, 100 * label + index).save(path / "train" / name / f"{index}.png")
    return path
