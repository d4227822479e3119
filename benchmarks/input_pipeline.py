#!/usr/bin/env python3
"""Does the input pipeline keep up? Steps fed by it, with augmentation, against the same steps on batches in memory.

    python -m benchmarks.input_pipeline --width 0.25

Random images of CIFAR-10's size stand for the data. The two take turns; the figure is the median of the ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import tensorflow as tf

from benchmarks import record
from benchmarks.train_step import compiled
from wage_tf import datasets, recipes


def main() -> None:
    """Prints one line: seconds of both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=0.25, help="VGG7's width: the narrower, the harder to keep up")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    record.add_argument(parser)
    args = parser.parse_args()

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (50_000, 32, 32, 3), np.uint8)
    data = datasets.Dataset.from_arrays("cifar10", images, np.arange(50_000) % 10)
    augmentation = recipes.get("cifar10").augmentation
    batches = list(data.train_batches(args.batch_size, 0, augmentation).take(args.steps))
    in_memory = tf.data.Dataset.from_tensor_slices(tuple(tf.stack(part) for part in zip(*batches, strict=True)))
    model, _, _ = compiled("vgg7", "2-8-8-8", args.width, args.batch_size)

    def seconds(source: tf.data.Dataset) -> float:
        start = time.perf_counter()
        model.fit(source, steps_per_epoch=args.steps, shuffle=False, verbose=0)
        return time.perf_counter() - start

    seconds(in_memory.repeat())
    pairs = []
    for _ in range(args.rounds):
        pairs.append((seconds(in_memory.repeat()), seconds(data.train_batches(args.batch_size, 0, augmentation))))
    memory, pipeline = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(fed / held for held, fed in pairs)
    print(
        f"vgg7 width {args.width:g}, {args.steps} steps of {args.batch_size}: in memory {memory:.2f} s, "
        f"through the pipeline {pipeline:.2f} s, ratio {ratio:.3f} (median of {args.rounds})"
    )
    record.write(args.json, "input_pipeline", {"memory_s": memory, "pipeline_s": pipeline, "ratio": ratio})


if __name__ == "__main__":
    main()
