#!/usr/bin/env python3
"""How fast is a training step of the native engine beside the same network in float32 Keras?

    python -m benchmarks.native_step --model vgg7 --widths 0.25,1 --batch-sizes 32,128
    python -m benchmarks.native_step --isa avx2 --model vgg7
    python -m benchmarks.native_step --layers --model vgg7 --batch-sizes 32

Both variants live in one process and take turns, step by step; the ratio is the median of the ratios of neighbouring
steps, so that a machine whose speed drifts slows both alike. `--layers` times every pass of every layer on one thread,
in CPU time, beside the peak of the CPU's integer dot products on registers (dot_peak.c, built by the C compiler).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

import models
from benchmarks import record
from benchmarks.train_step import numbers
from wage_tf import integer, native
from wage_tf.losses import SumSquaredError
from wage_tf.native.network import Network
from wage_tf.native.passes import passes
from wage_tf.optimizers import IntegerSGD

_SHAPES = {
    "ds_cnn": (49, 10, 1),
    "lenet5": (28, 28, 1),
    "mobilenet": (96, 96, 3),
    "resnet20": (32, 32, 3),
    "vgg7": (32, 32, 3),
}
_ROUNDS_OF_A_PASS = 7
LINE = (
    "{model} x{width:g} batch {batch}: float32 Keras {float32_ms:.1f} ms, native {native_ms:.1f} ms, {speed:.2f} times "
    "as fast; arena {arena_mb:.1f} MB, weights {weights_mb:.1f} MB"
)


def main() -> None:
    """Prints a line per size, or per layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(_SHAPES), default="vgg7")
    parser.add_argument("--widths", type=numbers, default=[1.0], metavar="X,...")
    parser.add_argument("--batch-sizes", type=numbers, default=[32], metavar="N,...")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60, help="per size; three rounds are made in any case")
    parser.add_argument("--layers", action="store_true", help="every layer's passes instead of whole steps")
    parser.add_argument("--isa", help="the most of both engines' instruction sets, such as avx2 (default: the CPU's)")
    record.add_argument(parser)
    args = parser.parse_args()
    if args.isa:
        os.environ |= {"WAGE_ISA": args.isa, "ONEDNN_MAX_CPU_ISA": args.isa.upper()}
    figures = {}
    print(f"instruction set {native.instruction_set()}")
    for width in args.widths:
        for batch in map(int, args.batch_sizes):
            if args.layers:
                for line in layer_lines(args.model, width, batch):
                    print(line)
            else:
                figures = measured(args.model, width, batch, args.rounds, args.seconds)
                print(LINE.format(model=args.model, width=width, batch=batch, **figures), flush=True)
    record.write(args.json, "native_step", figures)


def compiled(model: str, bits: str, width: float) -> keras.Model:
    """The network with IntegerSGD and the sum of squared errors."""
    keras.utils.set_random_seed(0)
    network = models.build(model, bits, _SHAPES[model], 10, width)
    rate, gradient_bits = (8.0, 8) if bits == "2-8-8-8" else (2.0**-12, None)
    network.compile(IntegerSGD(rate, bits=gradient_bits, seed=0), SumSquaredError())
    return network


def measured(model: str, width: float, batch: int, rounds: int, budget: float) -> dict[str, float]:
    """Milliseconds of a step by both engines, the median of their ratios, and the memory of the native one."""
    images, labels = batch_for(model, batch)
    targets = np.eye(10, dtype=np.float32)[labels]
    floats, trainer = compiled(model, "f-f-f-f", width), integer.Trainer(compiled(model, "2-8-8-8", width))
    steps = {
        "float32": lambda: floats.train_on_batch(images, targets),
        "native": lambda: trainer.train_on_batch(images, labels),
    }
    found: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step(), step()
    start = time.monotonic()
    for i in range(rounds):
        for name in list(steps)[:: 1 if i % 2 else -1]:
            begin = time.perf_counter()
            steps[name]()
            found[name].append(time.perf_counter() - begin)
        if i >= 2 and time.monotonic() - start > budget:
            break
    network = Network(trainer.graph(), batch, training=True)
    return {
        "float32_ms": 1e3 * statistics.median(found["float32"]),
        "native_ms": 1e3 * statistics.median(found["native"]),
        "speed": statistics.median(a / b for a, b in zip(found["float32"], found["native"], strict=True)),
        "rounds": len(found["native"]),
        "arena_mb": network.arena_bytes / 1e6,
        "weights_mb": network.parameter_bytes / 1e6,
        "isa": network.isa,
    }


def batch_for(model: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images of the network's size and labels."""
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (batch, *_SHAPES[model]), np.uint8), generator.integers(0, 10, batch)


def layer_lines(model: str, width: float, batch: int) -> list[str]:
    """Every linear layer's passes: milliseconds, and the share of the peak that their products reach."""
    graph = integer.freeze(compiled(model, "2-8-8-8", width))
    network = Network(graph, batch, training=True, threads=1, keep=True)
    images, labels = batch_for(model, batch)
    network.train_step(images, labels, 3, 0, 0)
    peak = peak_operations(network.isa)
    lines = [f"{model} x{width:g} batch {batch}, one thread, peak {peak / 1e9:.0f} GOPS"]
    for name, calls, operations in passes(network, batch):
        cells = []
        for label, call in calls.items():
            seconds = cpu_seconds(call)
            share = f" ({operations / seconds / peak:.0%})" if label in ("forward", "error", "gradient") else ""
            cells.append(f"{label} {1e3 * seconds:.2f}{share}")
        lines.append(f"{name}: {', '.join(cells)}")
    return lines


def peak_operations(isa: str) -> float:
    """Operations, two a product, per second and core of an instruction set's dot products on registers.

    VNNI's do 64 products of bytes; AVX2's pair of instructions does 32, with sums of 16 bits.
    """
    products = {"avx512vnni": 64, "avx2": 32}
    if isa not in products:
        return float("nan")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "dot_peak"
        source = Path(__file__).with_name("dot_peak.c")
        subprocess.run(["cc", "-O3", "-o", program, source], check=True)
        seconds = float(subprocess.run([program, isa], check=True, capture_output=True, text=True).stdout.split()[0])
    return 2 * products[isa] * 2**26 / seconds


def cpu_seconds(call: Callable[[], object], rounds: int = _ROUNDS_OF_A_PASS) -> float:
    """The least CPU time of a call by this thread: others' work on the machine does not count."""
    least = float("inf")
    for _ in range(rounds):
        begin = time.thread_time()
        call()
        least = min(least, time.thread_time() - begin)
    return least


if __name__ == "__main__":
    main()
