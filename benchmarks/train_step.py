#!/usr/bin/env python3
"""What do integers cost a training step? 2-8-8-8 against the same network in float32 Keras, paired in one process.

    python -m benchmarks.train_step --model vgg7 --width 0.25 --batch-size 128

The two variants take turns; the figure is the median of the ratios of neighbouring steps, so that a machine whose
speed drifts slows both alike.
"""

from __future__ import annotations

import argparse
import statistics
import time

import keras
import numpy as np

import models
from benchmarks import record
from wage_tf import datasets, recipes, training

_SHAPES = {"lenet5": ("mnist", (28, 28, 1)), "vgg7": ("cifar10", (32, 32, 3))}


def compiled(model: str, bits: str, width: float, batch_size: int) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """Builds a network as train.py does, with a batch of random images."""
    name, shape = _SHAPES[model]
    recipe = recipes.get(name)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (batch_size, *shape), np.uint8)
    labels = generator.integers(0, 10, batch_size)
    labels[:2] = 0, 9
    data = datasets.Dataset.from_arrays(name, images, labels)
    settings = {"dataset": name, "bits": bits, "model": model, "width": width, "batch_size": batch_size, "seed": 0}
    config = training.configure(data, recipe, {**settings, "checkpoint_steps": 0, "histogram_freq": 0})
    return training.prepare(config, data, models.build), images, np.eye(10, dtype=np.float32)[labels]


def main() -> None:
    """Prints one line: milliseconds of both variants and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(_SHAPES), default="lenet5")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--bits", default="2-8-8-8")
    parser.add_argument("--rounds", type=int, default=30)
    record.add_argument(parser)
    args = parser.parse_args()

    variants = [compiled(args.model, bits, args.width, args.batch_size) for bits in ("f-f-f-f", args.bits)]
    seconds: list[list[float]] = []
    for _ in range(args.rounds + 3):
        row = []
        for model, images, targets in variants:
            start = time.perf_counter()
            model.train_on_batch(images, targets)
            row.append(time.perf_counter() - start)
        seconds.append(row)
    seconds = seconds[3:]
    floats, integers = (statistics.median(column) * 1e3 for column in zip(*seconds, strict=True))
    ratio = statistics.median(integer / plain for plain, integer in seconds)
    print(
        f"{args.model} width {args.width:g} batch {args.batch_size}: float32 {floats:.1f} ms, "
        f"{args.bits} {integers:.1f} ms, ratio {ratio:.3f} (median of {args.rounds})"
    )
    record.write(args.json, "train_step", {"float_ms": floats, "integer_ms": integers, "ratio": ratio})


if __name__ == "__main__":
    main()
