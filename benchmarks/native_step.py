#!/usr/bin/env python3
"""How fast is a training step of the native engine beside the same network in float32 Keras?

    python -m benchmarks.native_step --model vgg7 --widths 0.25,1 --batch-sizes 32,128
    python -m benchmarks.native_step --isa avx2 --model vgg7

Both variants live in one process and take turns, step by step; the ratio is the median of the ratios of neighbouring
steps, so that a machine whose speed drifts slows both alike.
"""

from __future__ import annotations

import os
import statistics

from benchmarks import record, turns
from benchmarks.train_step import SHAPES, batch_of, compiled, numbers
from wage_tf import integer, native
from wage_tf.bits import NetworkBits
from wage_tf.cli.parsers import bits as bits_of
from wage_tf.native.network import Network

LINE = (
    "{model} x{width:g} {bits} batch {batch}: float32 Keras {float32_ms:.1f} ms, native {native_ms:.1f} ms, "
    "{speed:.2f} times as fast; arena {arena_mb:.1f} MB, weights {weights_mb:.1f} MB"
)
_EPOCH = 60_000
"""Training images of MNIST: `epoch_s` is how long the native engine's steps over so many take."""


def main() -> None:
    """Prints a line per size."""
    parser = record.parser("native_step", __doc__)
    parser.add_argument("--model", choices=sorted(SHAPES), default="vgg7")
    parser.add_argument("--bits", type=bits_of, default="2-8-8-8", metavar="W,A,G,E")
    parser.add_argument("--widths", type=numbers, default=[1.0], metavar="X,...")
    parser.add_argument("--batch-sizes", type=numbers, default=[32], metavar="N,...")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60, help="per size; three rounds are made in any case")
    parser.add_argument("--isa", help="the most of both engines' instruction sets, such as avx2 (default: the CPU's)")
    args = parser.parse_args()
    if args.isa:
        os.environ |= {"WAGE_ISA": args.isa, "ONEDNN_MAX_CPU_ISA": args.isa.upper()}
    figures = {}
    print(f"instruction set {native.instruction_set()}")
    for width in args.widths:
        for batch in map(int, args.batch_sizes):
            figures = measured(args.model, args.bits, width, batch, args.rounds, args.seconds)
            print(LINE.format(model=args.model, bits=args.bits, width=width, batch=batch, **figures), flush=True)
    record.write(args.json, "native_step", figures)


def measured(model: str, bits: NetworkBits, width: float, batch: int, rounds: int, budget: float) -> dict[str, float]:
    """Milliseconds of a step by both engines, the median of their ratios, and the memory of the native one."""
    images, labels = batch_of(model, batch)
    floats, _, targets = compiled(model, "f-f-f-f", width, batch)
    trainer = integer.Trainer(compiled(model, bits, width, batch)[0])
    steps = {
        "float32": turns.timed(lambda: floats.train_on_batch(images, targets)),
        "native": turns.timed(lambda: trainer.train_on_batch(images, labels)),
    }
    found = turns.alternate(steps, rounds, budget=budget)
    network = Network(trainer.graph(), batch, training=True)
    return {
        "float32_ms": 1e3 * statistics.median(found["float32"]),
        "native_ms": 1e3 * statistics.median(found["native"]),
        "epoch_s": _EPOCH / batch * statistics.median(found["native"]),
        "speed": statistics.median(a / b for a, b in zip(found["float32"], found["native"], strict=True)),
        "rounds": len(found["native"]),
        "arena_mb": network.arena_bytes / 1e6,
        "weights_mb": network.parameter_bytes / 1e6,
        "isa": network.isa,
    }


if __name__ == "__main__":
    main()
