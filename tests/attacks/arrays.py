"""Arrays of other dtypes, shapes, orders and contents than the native engine's training and inference take."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from attacks.judging import Finding
from wage_tf import losses, models
from wage_tf.errors import UserError
from wage_tf.integer import Trainer, engine, fit
from wage_tf.integer.graph import Graph
from wage_tf.optimizers import IntegerSGD

SHAPE, CLASSES = (4, 4, 1), 3
DTYPES = ("uint8", "int8", "int64", "float32", "float64", "bool", "object", "complex64", "U3", "datetime64[s]", ">u2")
LABELS = (0, 1, 2, -1, 3, 2**31, 2**63 - 1, -(2**63))


class Arrays:
    """Attacks on a Trainer and on `fit`.

    Args:
        folder: Not used; all families take one.
    """

    def __init__(self, folder: Path):
        del folder
        self._model = models.build("mlp", "2-8-8-8", SHAPE, CLASSES, width=0.02)
        self._model.compile(IntegerSGD(1.0, bits=8, seed=0), losses.SumSquaredError())
        self._trainer = Trainer(self._model)

    def attack(self, rng: random.Random, say: Callable[[str], None]) -> None:
        """Trains on one batch, which either gives NumPy's weights or is refused and changes nothing."""
        generator = np.random.default_rng(rng.randrange(2**32))
        count = rng.choice((0, 1, 2, 5, 64))
        images, labels = _images(rng, generator, count), _labels(rng, generator, count)
        (call,) = rng.choices((self._trainer.train_on_batch, self._trainer.scores, self._fit), (80, 15, 5))
        say(f"{call.__name__} of {_described(images)} with {_described(labels)}")
        before, step = self._trainer.graph(), int(self._model.optimizer.iterations.numpy())
        expected = before
        try:
            call(images) if call == self._trainer.scores else call(images, labels)
        except UserError as error:
            if "\n" in str(error):
                raise Finding(f"an error of several lines: {error}") from error
        except Exception as error:
            if call != self._fit:
                raise Finding(f"{type(error).__name__}: {error}") from error
        else:
            if call != self._trainer.scores and len(images):
                expected = _trained(before, images, labels, step)
        if not _same(expected, self._trainer.graph()):
            raise Finding("the weights are not those that they should be")

    def _fit(self, images: object, labels: object) -> None:
        """Keras has refusals of its own, in several lines."""
        self._trainer.sync()
        try:
            fit(self._model, (images, labels), batch_size=64, shuffle=False, verbose=0)
        finally:
            self._trainer = Trainer(self._model)


def _trained(graph: Graph, images: np.ndarray, labels: np.ndarray, step: int) -> Graph:
    labels = labels.argmax(1) if labels.ndim == 2 else labels
    return engine.train_step(graph, np.ascontiguousarray(images), labels, log2_eta=0, seed=0, step=step)


def _same(one: Graph, other: Graph) -> bool:
    pairs = ((one.parameters[name], other.parameters[name]) for name in one.parameters)
    return all(np.array_equal(a.accumulators, b.accumulators) for a, b in pairs)


def _images(rng: random.Random, generator: np.random.Generator, count: int) -> object:
    kind = rng.choice(
        ("right", "right", "dtype", "shape", "strided", "backwards", "fortran", "broadcast", "readonly", "odd")
    )
    images = generator.integers(0, 256, (count, *SHAPE), np.uint8)
    if kind == "dtype":
        return (
            images.astype(rng.choice(DTYPES[:6])) if rng.random() < 0.6 else np.zeros(images.shape, rng.choice(DTYPES))
        )
    if kind == "shape":
        return generator.integers(
            0, 256, rng.choice(((count,), (count, 4, 4), (count, 4, 4, 3), (4, 4, 1), ())), np.uint8
        )
    if kind == "strided":
        return generator.integers(0, 256, (count, 8, 4, 1), np.uint8)[:, ::2]
    if kind == "backwards":
        return images[::-1]
    if kind == "fortran":
        return np.asfortranarray(images)
    if kind == "broadcast":
        return np.broadcast_to(images[:1], (count, *SHAPE)) if count else images
    if kind == "readonly":
        images.flags.writeable = False
    if kind == "odd":
        return rng.choice(
            (None, "images", images.tolist(), [images], memoryview(images), 5, np.ma.masked_array(images))
        )
    return images


def _labels(rng: random.Random, generator: np.random.Generator, count: int) -> object:
    kind = rng.choice(("right", "right", "dtype", "range", "shape", "one-hot", "two hot", "NaN", "strided", "odd"))
    labels = generator.integers(0, CLASSES, count)
    if kind == "dtype":
        return labels.astype(rng.choice(DTYPES[:6])) if rng.random() < 0.6 else np.zeros(count, rng.choice(DTYPES))
    if kind == "range":
        return generator.choice(np.array(LABELS), count)
    if kind == "shape":
        return labels[: count // 2] if rng.random() < 0.5 else labels[:, None]
    if kind in ("one-hot", "two hot", "NaN"):
        targets = keras.utils.to_categorical(labels, CLASSES)
        targets[:1] = {"one-hot": targets[:1], "two hot": 1, "NaN": np.nan}[kind]
        return targets
    if kind == "strided":
        return np.repeat(labels, 2)[::2]
    if kind == "odd":
        return rng.choice((None, "labels", labels.tolist(), 5, np.ma.masked_array(labels)))
    return labels


def _described(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)[:40]
