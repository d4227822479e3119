#!/usr/bin/env python3
"""Does the input pipeline keep up? Steps fed by it, with augmentation, against the same steps on batches in memory.

    python -m benchmarks.input_pipeline --width 0.25
    python -m benchmarks.input_pipeline --engine integer --dataset mnist

Random images of the data's size stand for it: CIFAR-10's for VGG7, MNIST's for LeNet-5. The two take turns; the figures
are the medians of the ratio and of the pipeline's share of the time.
"""

from __future__ import annotations

import contextlib
import statistics
import time

import numpy as np
import tensorflow as tf

from benchmarks import record
from benchmarks.train_step import compiled
from wage_tf import datasets, integer, recipes

_NETWORKS = {"cifar10": ("vgg7", (32, 32, 3)), "mnist": ("lenet5", (28, 28, 1))}


def main() -> None:
    """Prints one line: seconds of both and their ratio."""
    parser = record.parser("input_pipeline", __doc__)
    parser.add_argument("--dataset", choices=sorted(_NETWORKS), default="cifar10")
    parser.add_argument("--engine", choices=("keras", "integer"), default="keras")
    parser.add_argument("--width", type=float, default=0.25, help="the narrower, the harder to keep up")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()

    generator = np.random.default_rng(0)
    network, shape = _NETWORKS[args.dataset]
    images = generator.integers(0, 256, (50_000, *shape), np.uint8)
    data = datasets.Dataset.from_arrays(args.dataset, images, np.arange(50_000) % 10)
    augmentation = recipes.get(args.dataset).augmentation
    batches = list(data.train_batches(args.batch_size, 0, augmentation).take(args.steps))
    in_memory = tf.data.Dataset.from_tensor_slices(tuple(tf.stack(part) for part in zip(*batches, strict=True)))
    model, _, _ = compiled(network, "2-8-8-8", args.width, args.batch_size)

    def seconds(source: tf.data.Dataset) -> float:
        start = time.perf_counter()
        model.fit(source, steps_per_epoch=args.steps, shuffle=False, verbose=0)
        return time.perf_counter() - start

    pairs = []
    with integer.attached(model) if args.engine == "integer" else contextlib.nullcontext():
        seconds(in_memory.repeat())
        for _ in range(args.rounds):
            pairs.append((seconds(in_memory.repeat()), seconds(data.train_batches(args.batch_size, 0, augmentation))))
    memory, pipeline = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(fed / held for held, fed in pairs)
    share = statistics.median(1 - held / fed for held, fed in pairs)
    print(
        f"{network} width {args.width:g}, {args.engine} engine, {args.steps} steps of {args.batch_size}: in memory "
        f"{memory:.2f} s, through the pipeline {pipeline:.2f} s, ratio {ratio:.3f}, share {share:.1%}"
    )
    figures = {"memory_s": memory, "pipeline_s": pipeline, "ratio": ratio, "share_percent": 100 * share}
    record.write(args.json, "input_pipeline", figures)


if __name__ == "__main__":
    main()
