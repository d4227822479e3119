#!/usr/bin/env python3
"""How do a training step's time and memory grow with batch and width? VGG7, 2-8-8-8 beside float32 Keras.

    python -m benchmarks.batch_and_width --json experiments/results/benchmarks/batch_and_width.json

The two variants of a size take turns, each in a process of its own, which also tells its peak memory.
"""

from __future__ import annotations

import argparse
import itertools

from benchmarks import record, turns
from benchmarks.peers import keras_step

_PATTERNS = {"integers": "2-8-8-8", "floats": "f-f-f-f"}


def numbers(text: str) -> list[float]:
    """An argument that lists numbers: "0.25,0.5,1"."""
    return [float(part) for part in text.split(",")]


def main() -> None:
    """Prints a line per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=numbers, default=[0.25, 0.5, 1.0], metavar="X,...")
    parser.add_argument("--batch-sizes", type=numbers, default=[16, 32, 64, 128], metavar="N,...")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=8, help="per size; three rounds are made in any case")
    record.add_argument(parser)
    args = parser.parse_args()

    sizes = []
    for width, batch_size in itertools.product(args.widths, map(int, args.batch_sizes)):
        variants = {name: (keras_step, (bits, width, batch_size)) for name, bits in _PATTERNS.items()}
        times = turns.take_turns(variants, args.rounds, warm_up=1, budget=args.seconds)
        integers, floats = times["integers"], times["floats"]
        size = {
            "width": width,
            "batch_size": batch_size,
            "rounds": len(integers.seconds),
            "milliseconds": {name: 1e3 * found.median for name, found in times.items()},
            "peak_megabytes": {name: found.peak_bytes / 1e6 for name, found in times.items()},
            "time_ratio": turns.median_ratio(integers, floats),
            "memory_ratio": integers.peak_bytes / floats.peak_bytes,
        }
        sizes.append(size)
        print(
            f"width {width:g} batch {batch_size}: "
            f"float32 {1e3 * floats.median:.0f} ms {floats.peak_bytes / 1e6:.0f} MB, "
            f"2-8-8-8 {1e3 * integers.median:.0f} ms {integers.peak_bytes / 1e6:.0f} MB, "
            f"ratios {size['time_ratio']:.2f} and {size['memory_ratio']:.2f}",
            flush=True,
        )
    record.write(args.json, "batch_and_width", {"sizes": sizes})


if __name__ == "__main__":
    main()
