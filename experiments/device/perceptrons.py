"""PocketNN's and NITRO-D's perceptrons, trained from their first weights by the exported C code."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from experiments.device import emulated
from experiments.device.pair import Pair
from wage_tf import integer, models
from wage_tf.datasets import Dataset
from wage_tf.export import Training

_EMULATED_STEPS = 2


@dataclasses.dataclass(frozen=True)
class Perceptron:
    """A training, the same as train.py's with `--engine integer` and these settings.

    Attributes:
        dataset: What it is trained on.
        network: Of `wage_tf.models`.
        bits: Widths W-A-G-E.
        batch: Images a step.
        epochs: Passes over the training images.
        schedule: log2 of the learning rate, and the epoch from which on it is so.
        seed: Decides the first weights, the order of the images and the rounding.
    """

    dataset: str
    network: str
    bits: str
    batch: int
    epochs: int
    schedule: tuple[tuple[int, int], ...]
    seed: int = 0

    def pair(self, dataset: Dataset, folder: Path) -> Pair:
        """The network with its first weights."""
        keras.utils.set_random_seed(self.seed)
        graph = integer.freeze(models.build(self.network, self.bits, dataset.input_shape, dataset.num_classes))
        return Pair(folder, graph, Training(self.batch, None, self.schedule[0][1], self.seed))

    def measure(self, pair: Pair, dataset: Dataset, device: emulated.Device) -> Iterator[dict[str, object]]:
        """Trains a pair; yields test errors and sizes after every epoch.

        Raises:
            ValueError: If the C code's weights are not the engine's after an epoch, or the device's not the C code's
                after the first steps.
        """
        test, stream = arrays_of(dataset), _batches(dataset, self.batch, self.seed)
        first = [next(stream) for _ in range(_EMULATED_STEPS)]
        for images, labels in first:
            pair.train_step(images, labels)
        images, labels = map(np.stack, zip(*first, strict=True))
        figures = {"needs": pair.needs, "emulated": emulated.repeated(device, pair, images, labels)}
        rates, errors = dict(self.schedule), []
        for epoch in range(self.epochs):
            if epoch in rates:
                pair.set_learning_rate(rates[epoch])
            while pair.steps < (epoch + 1) * dataset.steps_per_epoch(self.batch):
                pair.train_step(*next(stream))
            pair.check()
            errors.append(pair.host.error(*test))
            yield {**figures, "steps": pair.steps, "errors": errors}


def arrays_of(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The test images and their class numbers."""
    images, targets = next(dataset.test_batches(dataset.test_size).as_numpy_iterator())
    return images, targets.argmax(axis=1)


def _batches(dataset: Dataset, batch: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for images, targets in dataset.train_batches(batch, seed).as_numpy_iterator():
        yield images, targets.argmax(axis=1)
