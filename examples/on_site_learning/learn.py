"""A network that knows eight digits is exported, meets the other two on the device and learns them from a few images.

    python -m examples.on_site_learning.learn [--dataset mnist] [--data-dir DIR] [--shots 20] [--replay 10]

The training on the device is the exported C code itself, compiled on this machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow_datasets as tfds

from experiments.device.host import Host
from wage_tf import integer, losses, models, optimizers
from wage_tf.export import Card, Training, write_c
from wage_tf.export.c_layout import Layout
from wage_tf.export.c_needs import needs_of

BATCH, EPOCHS, LOG2_RATE = 8, 10, 3
OLD = {"mnist": range(8), "fashion_mnist": range(5)}
"""The classes that the network learns before it leaves for the device."""


def main() -> None:
    """Trains, exports, and lets the device learn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=OLD, default="mnist")
    parser.add_argument("--data-dir", help="where TensorFlow Datasets keeps its files")
    parser.add_argument("--train-from", default="fc1", help="the first layer that learns on the device")
    parser.add_argument("--shots", type=int, default=20, help="images of every new class on the device")
    parser.add_argument("--replay", type=int, default=10, help="images of every old class that the device keeps")
    parser.add_argument("--images", type=int, help="the first of each split that are used (default: all)")
    parser.add_argument("--out", type=Path, default=Path("runs/on_site_learning"), help="where the C code goes")
    args = parser.parse_args()
    old = np.array(OLD[args.dataset])
    train, test = (images_of(args.dataset, split, args.data_dir, args.images) for split in ("train", "test"))

    graph = integer.freeze(trained_on(train, old))
    training = Training(BATCH, args.train_from, LOG2_RATE)
    write_c(args.out, graph, Card(f"lenet5 on {args.dataset}", "2-8-8-8", "x/256", ()), training)
    print(needs_of(Layout.of(graph, training)))

    device = Host(args.out)
    report("before", device, test, old)
    rng = np.random.default_rng(0)
    new = few_of(train, np.setdiff1d(np.arange(10), old), args.shots, rng)
    kept = few_of(train, old, args.replay, rng)
    steps, begin = 0, time.perf_counter()
    for batch in batches(new, kept, rng):
        device.train_step(*batch)
        steps += 1
    print(f"{steps} steps, {1000 * (time.perf_counter() - begin) / steps:.2f} ms each on this machine")
    report("after ", device, test, old)


def images_of(dataset: str, split: str, data_dir: str | None, count: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a split, the first `count` or all."""
    data = tfds.load(dataset, split=split, batch_size=-1, as_supervised=True, data_dir=data_dir)
    images, labels = tfds.as_numpy(data)
    return images[:count], labels[:count]


def trained_on(train: tuple[np.ndarray, np.ndarray], classes: np.ndarray) -> keras.Model:
    """LeNet-5 of a quarter of the width, trained on some of the classes by the native engine."""
    keras.utils.set_random_seed(0)
    model = models.build("lenet5", "2-8-8-8", (28, 28, 1), 10, width=0.25)
    model.compile(optimizers.IntegerSGD(8.0, seed=0), losses.SumSquaredError())
    known = np.isin(train[1], classes)
    integer.fit(model, (train[0][known], train[1][known]), epochs=3, batch_size=128, verbose=2)
    return model


def few_of(data: tuple[np.ndarray, np.ndarray], classes: np.ndarray, count: int, rng: np.random.Generator) -> tuple:
    """`count` images of each of the classes."""
    images, labels = data
    places = np.concatenate([rng.choice(np.flatnonzero(labels == c), count, replace=False) for c in classes])
    return images[places], labels[places]


def batches(new: tuple, kept: tuple, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of new images and kept ones, one half each."""
    half = BATCH // 2
    for _ in range(EPOCHS):
        order = rng.permutation(len(new[0]))
        for start in range(0, len(order), half):
            here, there = order[start : start + half], rng.choice(len(kept[0]), half, replace=False)
            yield np.concatenate([new[0][here], kept[0][there]]), np.concatenate([new[1][here], kept[1][there]])


def report(when: str, device: Host, test: tuple[np.ndarray, np.ndarray], old: np.ndarray) -> None:
    """Prints the accuracy on the test set's old and new classes and on all."""
    right, is_old = device.scores(test[0]).argmax(axis=1) == test[1], np.isin(test[1], old)
    shares = {"old classes": right[is_old], "new classes": right[~is_old], "all": right}
    print(when, ", ".join(f"{what} {100 * share.mean():.1f}%" for what, share in shares.items()))


if __name__ == "__main__":
    main()
