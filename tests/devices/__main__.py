"""`make device-test`: exported networks on emulated devices against the integer engine, bit for bit.

Needs Debian's gcc-arm-none-eabi, gcc-riscv64-unknown-elf, qemu-system-arm and qemu-system-misc. Prints instructions,
which are not cycles.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

import models
from devices.emulator import MACHINES, Emulator
from wage_tf import integer
from wage_tf.export import Card, Training, with_block, write_c
from wage_tf.export.c_tail import frozen_before

CASES = (
    ("mlp", (8, 8, 1), 0.1, None, 4),
    ("lenet5", (28, 28, 1), 0.25, None, 2),
    ("lenet5", (28, 28, 1), 1.0, "fc2", 8),
    ("vgg7", (16, 16, 3), 0.05, None, 2),
    ("resnet8", (16, 16, 3), 0.25, None, 2),
    ("ds_cnn", (24, 10, 1), 0.25, "block4_depthwise", 2),
)
"""Network, image, width, the first layer that is trained, batch."""

FIGURES = (
    ("lenet5", (28, 28, 1), 1.0, "fc2", 8),
    ("lenet5", (28, 28, 1), 1.0, "fc1", 1),
    ("lenet5", (28, 28, 1), 1.0, None, 1),
    ("lenet5", (28, 28, 1), 0.25, "fc2", 8),
    ("lenet5", (28, 28, 1), 0.25, "fc1", 8),
    ("lenet5", (28, 28, 1), 0.25, None, 8),
    ("mlp", (28, 28, 1), 0.25, None, 8),
    ("vgg7", (32, 32, 3), 0.25, "fc2", 1),
    ("resnet8", (32, 32, 3), 1.0, "fc1", 1),
    ("resnet8", (32, 32, 3), 1.0, "block3_conv1", 1),
)
"""Those of docs/devices.md."""

SEED, STEPS, IMAGES = 5, 6, 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m devices", description=__doc__)
    parser.add_argument("--machines", default=",".join(MACHINES), help="default: %(default)s")
    parser.add_argument("--levels", default="-Os,-O2", help="the compiler's optimization levels; default: %(default)s")
    parser.add_argument(
        "--figures", type=Path, metavar="JSON", help="writes the instructions of docs/devices.md instead"
    )
    args = parser.parse_args()
    machines, levels = args.machines.split(","), args.levels.split(",")
    if args.figures:
        return write_figures(args.figures, machines[0], levels)
    failures = 0
    for name, shape, width, train_from, batch in CASES:
        graph = integer.freeze(models.build(name, "2-8-8-8", shape, 10, width=width))
        for training in (None, Training(batch, train_from, 0, SEED)):
            for machine, level in itertools.product(machines, levels):
                what = "inference" if training is None else f"training from {train_from or 'the first layer'}"
                counts = [1 + step % training.batch for step in range(STEPS)] if training else []
                found = check(graph, training, machine, level, counts)
                print(f"{name} x{width}, {what}, {machine} {level}: {found}", flush=True)
                failures += not found.startswith("equal")
    return 1 if failures else 0


def write_figures(path: Path, machine: str, levels: list[str]) -> int:
    """Instructions of one full step, and of an image afterwards."""
    records = []
    for name, shape, width, train_from, batch in FIGURES:
        keras.utils.set_random_seed(0)
        graph = integer.freeze(models.build(name, "2-8-8-8", shape, 10, width=width))
        for level in levels:
            found = check(graph, Training(batch, train_from, 0, SEED), machine, level, [batch], 1)
            records.append([name, shape, width, train_from, batch, machine, level, found])
            print(records[-1], flush=True)
            path.write_text(json.dumps(records, indent=1) + "\n")
    return 1 if any(not found.startswith("equal") for *_, found in records) else 0


def check(
    graph: integer.Graph,
    training: Training | None,
    machine: str,
    level: str,
    counts: list[int],
    classified: int = IMAGES,
) -> str:
    """Runs a case on a machine; returns "equal" and the instructions, or what differs."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, *graph.input_shape), np.uint8)
    labels = rng.integers(0, 10, IMAGES)
    with tempfile.TemporaryDirectory() as folder:
        write_c(folder, graph, Card("case", "2-8-8-8", "", ()), training)
        emulator = Emulator(Path(folder), machine, level)
        answer = emulator.run(images, labels, counts, classified)
    expected = graph if training is None else trained(graph, training, images, labels, counts)
    if not np.array_equal(answer.scores, integer.infer(expected, images[:classified])):
        return "scores differ"
    if training is None:
        return f"equal, {answer.infer:,} instructions an image"
    found = with_block(graph, answer.block)
    for name, parameter in expected.parameters.items():
        if not np.array_equal(found.parameters[name].accumulators, parameter.accumulators):
            return f"stored weights of {name} differ"
    last = f"{answer.steps[-1]:,} instructions a step of {counts[-1]}"
    return f"equal after {len(counts)} steps, {answer.infer:,} instructions an image, {last}"


def trained(graph, training, images, labels, counts):
    """The graph after the same steps by the integer engine."""
    expected, first = frozen_before(graph, training.train_from), 0
    for step, count in enumerate(counts):
        part = slice(first, first + count)
        expected = integer.train_step(expected, images[part], labels[part], training.log2_eta, SEED, step)
        first = (first + count) % (IMAGES - training.batch + 1)
    return expected


if __name__ == "__main__":
    sys.exit(main())
