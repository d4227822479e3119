#!/usr/bin/env python3
"""What do integers cost a training step, in time and in memory? 2-8-8-8 beside the same network in float32 Keras.

    python -m benchmarks.train_step --model vgg7 --widths 0.25,0.5,1 --batch-sizes 16,32,64,128

The two variants of a size take turns, each in a process of its own, which also says its peak memory; the ratio is the
median of the ratios of neighbouring steps, so that a machine whose speed drifts slows both alike.
"""

from __future__ import annotations

import itertools

import keras
import numpy as np

from benchmarks import record, turns
from wage_tf import datasets, recipes
from wage_tf.bits import NetworkBits
from wage_tf.distribution.devices import Devices
from wage_tf.runs import training
from wage_tf.runs.config import Data, resolve

SHAPES = {
    "ds_cnn": (49, 10, 1),
    "lenet5": (28, 28, 1),
    "mlp_100_50": (28, 28, 1),
    "mlp_200_100_50": (28, 28, 1),
    "mobilenet": (96, 96, 3),
    "resnet20": (32, 32, 3),
    "vgg7": (32, 32, 3),
    "vgg8b": (28, 28, 1),
}
_PATTERNS = {"integers": "2-8-8-8", "floats": "f-f-f-f"}


def batch_of(model: str, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Random uint8 images of the network's size and their labels, 0 and 9 among them."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (batch_size, *SHAPES[model]), np.uint8)
    labels = generator.integers(0, 10, batch_size)
    labels[:2] = 0, 9
    return images, labels


def compiled(
    model: str, bits: NetworkBits | str, width_multiplier: float, batch_size: int, devices: Devices | None = None
) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """Builds a network as train.py does, with a batch of random images and one-hot targets."""
    name = "mnist" if SHAPES[model] == SHAPES["lenet5"] else "cifar10"
    images, labels = batch_of(model, batch_size)
    data = datasets.Dataset.from_arrays(name, images, labels)
    settings = {"model": model, "bits": NetworkBits.parse(bits), "width": width_multiplier, "batch_size": batch_size}
    config = resolve(Data.of(data), recipes.get(name), dataset=name, **settings)
    return training.prepare(config, data, devices), images, np.eye(10, dtype=np.float32)[labels]


def make_step(model: str, bits: str, width_multiplier: float, batch_size: int) -> turns.Step:
    """A function of one training step, for `turns.take_turns`."""
    network, images, targets = compiled(model, bits, width_multiplier, batch_size)
    return lambda: network.train_on_batch(images, targets)


def numbers(text: str) -> list[float]:
    """An argument that lists numbers: "0.25,0.5,1"."""
    return [float(part) for part in text.split(",")]


def main() -> None:
    """Prints a line per size."""
    parser = record.parser("train_step", __doc__)
    parser.add_argument("--model", choices=sorted(SHAPES), default="lenet5")
    parser.add_argument("--widths", type=numbers, default=[1.0], metavar="X,...")
    parser.add_argument("--batch-sizes", type=numbers, default=[128], metavar="N,...")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=8, help="per size; three rounds are made in any case")
    args = parser.parse_args()

    sizes = []
    for width_multiplier, batch_size in itertools.product(args.widths, map(int, args.batch_sizes)):
        variants = {
            name: (make_step, (args.model, bits, width_multiplier, batch_size)) for name, bits in _PATTERNS.items()
        }
        times = turns.take_turns(variants, args.rounds, budget=args.seconds)
        integers, floats = times["integers"], times["floats"]
        size = {
            "width": width_multiplier,
            "batch_size": batch_size,
            "rounds": len(integers.seconds),
            "milliseconds": {name: 1e3 * found.median for name, found in times.items()},
            "peak_megabytes": {name: found.peak_bytes / 1e6 for name, found in times.items()},
            "time_ratio": turns.median_ratio(integers, floats),
            "memory_ratio": integers.peak_bytes / floats.peak_bytes,
        }
        sizes.append(size)
        print(
            f"{args.model} width {width_multiplier:g} batch {batch_size}: "
            f"float32 {1e3 * floats.median:.1f} ms {floats.peak_bytes / 1e6:.0f} MB, "
            f"2-8-8-8 {1e3 * integers.median:.1f} ms {integers.peak_bytes / 1e6:.0f} MB, "
            f"ratios {size['time_ratio']:.2f} and {size['memory_ratio']:.2f}",
            flush=True,
        )
    record.write(args.json, "train_step", {"model": args.model, "sizes": sizes})


if __name__ == "__main__":
    main()
