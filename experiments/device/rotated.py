"""LeNet-5 knows Fashion-MNIST upright, meets it turned by 90 degrees, and learns that from a few images in C."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments import provenance
from experiments.device import emulated
from experiments.device.pair import Pair
from experiments.device.perceptrons import arrays_of
from wage_tf import integer, zoo
from wage_tf.datasets import Dataset
from wage_tf.export import Training
from wage_tf.integer import Graph
from wage_tf.runs.directory import RunDirectory

_IMAGES = 1000


@dataclasses.dataclass(frozen=True)
class Rotated:
    """An adaptation.

    Attributes:
        train_from: The first layer that learns; None for all layers.
        batch: Images a step.
        epochs: Passes over the rotated training images.
        schedule: log2 of the learning rate, and the epoch from which on it is so.
        arguments: train.py's, for the upright network; None for the zoo's.
        ram: Bytes of RAM that the device has; None for any number.
        emulated_steps: How many of the first epoch's steps the device repeats.
        seed: Decides the order of the images and the rounding.
    """

    train_from: str | None
    batch: int
    epochs: int
    schedule: tuple[tuple[int, int], ...]
    arguments: str | None = None
    ram: int | None = None
    emulated_steps: int = 125
    seed: int = 0
    dataset = "fashion_mnist"

    def pair(self, dataset: Dataset, folder: Path) -> Pair:
        """The network that has learned the images as they are."""
        training = Training(self.batch, self.train_from, self.schedule[0][1], self.seed)
        return Pair(folder, self._upright(), training, self.ram)

    def measure(self, pair: Pair, dataset: Dataset, device: emulated.Device) -> Iterator[dict[str, object]]:
        """Trains a pair; yields test errors before, after the first epoch and after the last.

        Raises:
            ValueError: If the C code's weights are not the engine's after an epoch, or the device's not the C code's
                after `emulated_steps`.
        """
        (upright, labels), (images, classes) = arrays_of(dataset), _first_of(dataset)
        test = turn(upright), labels
        figures = {"needs": pair.needs, "upright": pair.host.error(upright, labels), "before": pair.host.error(*test)}
        rates, rng, errors = dict(self.schedule), np.random.default_rng(self.seed), []
        for epoch in range(self.epochs):
            if epoch in rates:
                pair.set_learning_rate(rates[epoch])
            order = rng.permutation(len(images) - len(images) % self.batch).reshape(-1, self.batch)
            for places in order:
                pair.train_step(images[places], classes[places])
                if pair.steps == self.emulated_steps:
                    done = order[: pair.steps]
                    figures["emulated"] = emulated.repeated(device, pair, images[done], classes[done])
            pair.check()
            if epoch + 1 in (1, self.epochs):
                errors.append(pair.host.error(*test))
                yield {**figures, "errors": errors, "steps": pair.steps, "images": len(images)}

    def _upright(self) -> Graph:
        """The network that has learned the images as they are."""
        if self.arguments is None:
            return zoo.graph("lenet5-fashion_mnist")
        run = provenance.ROOT / "runs" / "lenet5-half"
        command = [sys.executable, "train.py", *self.arguments.split(), "--run-dir", str(run), "--resume"]
        subprocess.run(command, cwd=provenance.ROOT, check=True)
        return integer.freeze(RunDirectory(run).load_model())


def turn(images: np.ndarray) -> np.ndarray:
    """Images [n, height, width, channels] turned by 90 degrees, counterclockwise."""
    return np.ascontiguousarray(np.rot90(images, axes=(1, 2)))


def _first_of(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The first training images, turned, and their class numbers."""
    images, targets = dataset.probe_batch(_IMAGES)
    return turn(images), targets.argmax(axis=1)
