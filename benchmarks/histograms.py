#!/usr/bin/env python3
"""What do TensorBoard's histograms cost? The time of measuring and writing them against an epoch of MNIST's size.

python -m benchmarks.histograms
"""

from __future__ import annotations

import statistics
import tempfile
import time

from benchmarks import record
from benchmarks.train_step import compiled
from wage_tf.callbacks import QuantizationHistograms

_STEPS_OF_MNIST = 469


def main() -> None:
    """Prints one line: seconds of an epoch, of its histograms, and the share."""
    parser = record.parser("histograms", __doc__)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()

    model, images, targets = compiled("lenet5", "2-8-8-8", 1.0, 128)
    model.train_on_batch(images, targets)
    with tempfile.TemporaryDirectory() as folder:
        callback = QuantizationHistograms(folder, images, targets)
        callback.set_model(model)
        callback.on_train_begin()
        start = time.perf_counter()
        callback.on_epoch_end(0)
        first = time.perf_counter() - start
        pairs = []
        for epoch in range(args.rounds):
            start = time.perf_counter()
            for _ in range(40):
                model.train_on_batch(images, targets)
            steps = time.perf_counter()
            callback.on_epoch_end(epoch + 1)
            pairs.append(((steps - start) / 40 * _STEPS_OF_MNIST, time.perf_counter() - steps))
    epoch, measured = (statistics.median(column) for column in zip(*pairs, strict=True))
    share = statistics.median(spent / whole for whole, spent in pairs)
    print(
        f"lenet5: an epoch of {_STEPS_OF_MNIST} steps {epoch:.1f} s, its histograms {measured:.2f} s, "
        f"{100 * share:.1f}% (once, to compile: {first:.1f} s; median of {args.rounds})"
    )
    figures = {"epoch_s": epoch, "histograms_s": measured, "share_percent": 100 * share, "compile_s": first}
    record.write(args.json, "histograms", figures)


if __name__ == "__main__":
    main()
