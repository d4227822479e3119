#!/usr/bin/env python3
"""What does a quantized training take in memory? Peak memory of VGG7's steps against the float32 network's.

    python -m benchmarks.memory --batch-size 128

Each variant runs in a process of its own, which reports its peak resident memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource

from benchmarks import record


def peak_bytes(bits: str, width: float, batch_size: int, steps: int = 3) -> int:
    """Trains a few steps and returns this process' peak resident memory."""
    from benchmarks.train_step import compiled

    model, images, targets = compiled("vgg7", bits, width, batch_size)
    for _ in range(steps):
        model.train_on_batch(images, targets)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Prints one line: peak bytes of both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch-size", type=int, default=128)
    record.add_argument(parser)
    args = parser.parse_args()

    peaks = []
    for bits in ("f-f-f-f", "2-8-8-8"):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peaks.append(pool.apply(peak_bytes, (bits, args.width, args.batch_size)))
    floats, integers = peaks
    print(
        f"vgg7 width {args.width:g} batch {args.batch_size}: float32 {floats / 1e6:.0f} MB, "
        f"2-8-8-8 {integers / 1e6:.0f} MB, ratio {integers / floats:.3f}"
    )
    figures = {"float_mb": floats / 1e6, "integer_mb": integers / 1e6, "ratio": integers / floats}
    record.write(args.json, "memory", figures)


if __name__ == "__main__":
    main()
