#!/usr/bin/env python3
"""Is the native engine as fast as int8 LiteRT on one image? VGG7, one thread, in one process and in turn.

    python -m benchmarks.native_inference --width 0.25

Weights are untrained: times do not depend on them. Both give the same scores.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import models
from benchmarks import record
from benchmarks.integer_inference import CARD, SHAPE, litert, paired_times
from wage_tf import integer
from wage_tf.export import write_litert
from wage_tf.native.network import Network


def main() -> None:
    """Prints one line."""
    parser = record.parser("native_inference", __doc__)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--rounds", type=int, default=500)
    args = parser.parse_args()
    graph = integer.freeze(models.build("vgg7", "2-8-8-8", SHAPE, 10, args.width))
    network = Network(graph, 1, threads=1)
    images = np.random.default_rng(0).integers(0, 256, (args.rounds + 5, 1, *SHAPE)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        write_litert(Path(folder) / "int8.tflite", graph, CARD)
        runs = {"litert": litert(Path(folder) / "int8.tflite"), "native": network.infer}
        if not np.array_equal(*(run(images[0]) for run in runs.values())):
            raise SystemExit("the scores differ")
        times = paired_times(runs, images)
    figures = {f"{name}_ms": float(np.median(found)) for name, found in times.items()}
    figures |= {"speed": float(np.median(times["litert"] / times["native"])), "isa": network.isa}
    print(
        f"vgg7 x{args.width:g}, one image, one thread: native {figures['native_ms']:.3f} ms, int8 LiteRT "
        f"{figures['litert_ms']:.3f} ms: {figures['speed']:.2f} times as fast ({network.isa})"
    )
    record.write(args.json, "native_inference", figures)


if __name__ == "__main__":
    main()
