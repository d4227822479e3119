"""An ordinary Keras CNN trained in float32: `python -m experiments.float_network --dataset fashion_mnist FILE.keras`.

What `wage_tf.quantize_model` and `train.py --from FILE.keras` begin with.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import keras

from wage_tf import datasets
from wage_tf.datasets import Dataset
from wage_tf.metrics import ErrorRate

_FILTERS = {"cifar10": (32, 64, 64)}
_TEST_BATCH = 500


def build(dataset: Dataset) -> keras.Model:
    """A small CNN as Keras users write it: 16C3-MP2-32C3-MP2-128FC, batch normalization before each ReLU.

    On CIFAR-10 it is 32C3-MP2-64C3-MP2-64C3-MP2-128FC.
    """
    layers = keras.layers
    image = x = keras.Input(dataset.input_shape)
    x = layers.Rescaling(1 / 255)(x)
    for count in _FILTERS.get(dataset.name, (16, 32)):
        x = layers.Conv2D(count, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(128, use_bias=False)(layers.Flatten()(x))
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    return keras.Model(image, layers.Dense(dataset.num_classes, activation="softmax")(x), name="cnn")


def train(model: keras.Model, dataset: Dataset, epochs: int, batch_size: int, seed: int) -> dict[str, object]:
    """Trains a compiled model; test errors in percent, before the first epoch and after each."""
    test = dataset.test_batches(_TEST_BATCH)
    begun = time.monotonic()
    errors = [model.evaluate(test, verbose=0, return_dict=True)["error"]]
    history = model.fit(
        dataset.train_batches(batch_size, seed),
        epochs=epochs,
        steps_per_epoch=dataset.steps_per_epoch(batch_size),
        validation_data=test,
        shuffle=False,
        verbose=0,
    )
    errors += history.history["val_error"]
    return {"errors": [round(error, 3) for error in errors], "seconds": round(time.monotonic() - begun, 1)}


def trained(dataset: Dataset, epochs: int, batch_size: int, seed: int) -> tuple[keras.Model, dict[str, object]]:
    """The network, trained by Adam, and what `train` returns."""
    keras.utils.set_random_seed(seed)
    model = build(dataset)
    model.compile("adam", "categorical_crossentropy", metrics=[ErrorRate()])
    return model, train(model, dataset, epochs, batch_size, seed)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.float_network", description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE.keras")
    parser.add_argument("--dataset", default="mnist", metavar="NAME|PATH")
    parser.add_argument("--epochs", type=int, default=4, metavar="N")
    parser.add_argument("--batch-size", type=int, default=128, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    args = parser.parse_args(argv)
    model, figures = trained(datasets.load(args.dataset), args.epochs, args.batch_size, args.seed)
    args.file.parent.mkdir(parents=True, exist_ok=True)
    model.save(args.file)
    print(f"{args.file}: {figures['errors'][-1]:.2f}% test error after {args.epochs} epochs in float32")


if __name__ == "__main__":
    main()
