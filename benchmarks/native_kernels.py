#!/usr/bin/env python3
"""How fast are the native kernels? GOPS of every linear layer and pass of a network, against the core's measured peak.

    python -m benchmarks.native_kernels --model vgg7 --batch-size 32 --threads 2

A multiplication and an addition are two operations. The figure is the best of the rounds: what the kernel can do where
nobody else uses the machine. `--cpu-time` takes each thread's processor time instead, for machines that others share.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import models
from benchmarks import record
from wage_tf import native
from wage_tf.integer.freezing import freeze
from wage_tf.native.lowering import lower

_SHAPES = {"lenet5": (28, 28, 1), "vgg7": (32, 32, 3)}
_ALIGNMENT = 64
_READ_BEYOND = 64
_Pass = Callable[[object, int], object]


class Layer:
    """One linear layer with random operands, to be run by a team of threads."""

    def __init__(self, kernels: object, fields: dict[str, int], batch: int, threads: int):
        self._ffi, self._lib = native.runtime().ffi, native.runtime().lib
        self._kept: list[object] = []
        self.kernels, self.batch, self.threads = kernels, batch, threads
        self.layer = self._ffi.new("wage_layer *", {**fields, "batch": batch, "e_zero": kernels.e_zero})
        self.taken = bool(kernels.takes(self.layer))
        layer, generator = self.layer, np.random.default_rng(0)
        self.weights = layer.window_h * layer.window_w * layer.channels // layer.groups * layer.filters
        self.operations = 2 * self.weights * layer.out_h * layer.out_w * batch
        pooled = batch * (layer.out_h // layer.pool_h) * (layer.out_w // layer.pool_w) * layer.filters
        inputs = batch * layer.in_h * layer.in_w * layer.channels
        x = self._image(layer.in_h, layer.in_w, layer.channels, generator)
        largest = generator.integers(0, layer.pool_h * layer.pool_w, pooled)
        self.packed = self._memory(kernels.packed_size(layer))
        workspace = self._memory(kernels.workspace_size(layer, threads))
        codes = self._memory(self.weights, generator.integers(-layer.w_limit, layer.w_limit + 1, self.weights))
        stored = self._memory(self.weights, np.zeros(self.weights))
        gate = self._memory(pooled, generator.integers(0, 2, pooled) | largest << 2)
        gate_in = self._memory(inputs, generator.integers(0, 2, inputs))
        row = layer.out_w // layer.pool_w * layer.filters
        places = {"data": self._memory(4 * pooled), "row": row, "image": pooled // batch}
        y = self._ffi.new("wage_image *", places)
        e = self._image(layer.out_h, layer.out_w, layer.filters, generator)
        sums, error = self._memory(4 * pooled, generator.integers(0, 256, 4 * pooled)), self._memory(4 * inputs)
        gradient = self._memory(8 * self.weights)
        rounding = self._ffi.new("wage_rounding *", {"shift": 24, "limit": 127})
        rate = self._ffi.new(
            "wage_rate *", {"shift": 8, "random_width": 16, "limit": 64, "code_shift": 6, "code_limit": 1}
        )
        self._kept += [y, rounding, rate]
        self.passes: dict[str, _Pass] = {
            "pack": lambda team: kernels.pack(layer, codes, self.packed, 1, team),
            "forward": lambda team: kernels.forward(layer, self.packed, x, y, gate, batch, workspace, team),
            "error": lambda team: kernels.error(layer, self.packed, e, error, gate_in, batch, workspace, team),
            "gradient": lambda team: kernels.gradient(layer, x, e, gradient, batch, workspace, team),
            "round_errors": lambda team: kernels.round_errors(layer, rounding, sums, gate, e, batch, team),
            "update": lambda team: kernels.update(rate, gradient, 0, stored, 1, codes, self.weights, team),
        }

    def seconds(self, name: str, rounds: int, clock: Callable[[], float]) -> float:
        """The best of the rounds; of a round, what its slowest thread took."""
        taken = [[0.0] * self.threads for _ in range(rounds)]
        together = threading.Barrier(self.threads)
        barrier = self._ffi.gc(self._lib.wage_barrier_new(self.threads), self._lib.wage_barrier_free)
        wait = self._ffi.addressof(self._lib, "wage_barrier_wait")

        def work(index: int) -> None:
            team = self._ffi.new(
                "wage_team *", {"index": index, "count": self.threads, "wait": wait, "barrier": barrier}
            )
            for row in taken:
                together.wait()
                start = clock()
                self.passes[name](team)
                row[index] = clock() - start

        workers = [threading.Thread(target=work, args=(index,)) for index in range(self.threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return min(map(max, taken))

    def _memory(self, size: int, values: np.ndarray | None = None) -> object:
        """Aligned bytes, with some to read before and after."""
        block = np.zeros(size + 2 * _READ_BEYOND + _ALIGNMENT, np.uint8)
        begin = _READ_BEYOND + -block.ctypes.data % _ALIGNMENT
        view = block[begin : begin + size]
        if values is not None:
            view[:] = values.astype(np.int8).view(np.uint8)
        self._kept.append(block)
        return self._ffi.cast("void *", view.ctypes.data)

    def _image(self, height: int, width: int, channels: int, generator: np.random.Generator) -> object:
        """Random codes with a border that is wide enough for every pass."""
        top, left = self.layer.window_h, self.layer.window_w
        row = (width + 2 * left) * channels
        image = (height + 2 * top) * row
        data = self._memory(self.batch * image, generator.integers(0, 128, self.batch * image))
        inner = self._ffi.cast("uint8_t *", data) + top * row + left * channels
        pointer = self._ffi.new("wage_image *", {"data": inner, "row": row, "image": image})
        self._kept.append(pointer)
        return pointer


def peaks() -> dict[str, float]:
    """The core's peaks, from a C program that the machine's compiler builds."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peak"
        source = Path(__file__).with_name("peak.c")
        subprocess.run(["cc", "-O2", "-march=native", source, "-o", program], check=True)
        return json.loads(subprocess.run([program], check=True, capture_output=True).stdout)


def measured(layer: Layer, rounds: int, clock: Callable[[], float], first: bool) -> dict[str, float]:
    """Milliseconds of every pass; the first layer of a network has no error to give on."""
    return {name: 1e3 * layer.seconds(name, rounds, clock) for name in layer.passes if not (first and name == "error")}


def main() -> None:
    """Prints a line per layer and the sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(_SHAPES), default="vgg7")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isa", help="instruction set; default: the fastest")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--cpu-time", action="store_true")
    record.add_argument(parser)
    args = parser.parse_args()

    isa = native.instruction_set(args.isa)
    kernels = native.instruction_sets()[isa]
    clock = time.thread_time if args.cpu_time else time.perf_counter
    model = models.build(args.model, "2-8-8-8", _SHAPES[args.model], 10, width=args.width)
    program = lower(freeze(model), wide=False)
    rows, sums = {}, {"product_ms": 0.0, "other_ms": 0.0, "operations": 0.0}
    for node in (node for node in program.nodes if node.kind == "LINEAR"):
        layer = Layer(kernels, node.layer, args.batch_size, args.threads)
        found = measured(layer, args.rounds, clock, first=not rows)
        products = {name: found[name] for name in ("forward", "error", "gradient") if name in found}
        rows[node.names[0]] = {"taken": layer.taken, "milliseconds": found, "operations": layer.operations}
        sums["product_ms"] += sum(products.values())
        sums["other_ms"] += sum(found.values()) - sum(products.values())
        sums["operations"] += layer.operations * len(products)
        speeds = " ".join(
            f"{name} {ms:8.3f} ms {1e-6 * layer.operations / ms:5.0f} GOPS" for name, ms in products.items()
        )
        rest = " ".join(f"{name} {ms:.3f}" for name, ms in found.items() if name not in products)
        print(f"{node.names[0]:8} {speeds} | {rest}", flush=True)
    speed, peak = 1e-6 * sums["operations"] / sums["product_ms"], peaks()
    share = speed / args.threads / peak["vpdpbusd_gops"]
    print(
        f"{args.model} width {args.width:g} batch {args.batch_size}, {isa}, {args.threads} threads: products "
        f"{sums['product_ms']:.1f} ms, {speed:.0f} GOPS, {share:.0%} of the peak ({peak['vpdpbusd_gops']:.0f} a core; "
        f"float32 {peak['fma_gflops']:.0f} GFLOPS); the rest {sums['other_ms']:.1f} ms"
    )
    record.write(args.json, "native_kernels", {"isa": isa, "layers": rows, "sums": sums, "gops": speed, "peak": peak})


if __name__ == "__main__":
    main()
