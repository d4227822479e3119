#!/usr/bin/env python3
"""What limits each layer? Every pass of the native engine beside the CPU's peak, its memory and oneDNN's int8 product.

    python -m benchmarks.native_layers --model vgg7 --batch-size 32

One thread, in CPU time. The peak is that of the CPU's integer dot products on registers (dot_peak.c, built by the C
compiler); the memory's pace is that of a copy of 256 MB. Operations are two a product; bytes are those of a pass'
operands and results, each moved once. oneDNN's product of bytes (Debian: libdnnl2) gets a matrix of the same
operations, without what it takes to lay an image out as one, to requantize or to mask; without the library its column
is empty.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import record
from benchmarks.train_step import SHAPES, batch_of, compiled
from wage_tf import integer
from wage_tf.native.network import Network
from wage_tf.native.passes import passes
from wage_tf.native.program import Node

_ROUNDS = 7
_PRODUCTS = {"avx512vnni": 64, "avx2": 32}
_TIMED = ("forward", "error", "gradient")
_HEADER = "| layer | pass | GOP | MB | operations a byte | ms | GOPS | of the peak | oneDNN | limit |"


def main() -> None:
    """Prints a table in Markdown."""
    parser = record.parser("native_layers", __doc__)
    parser.add_argument("--model", choices=sorted(SHAPES), default="vgg7")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch-size", type=int, default=32)
    args = parser.parse_args()
    graph = integer.freeze(compiled(args.model, "2-8-8-8", args.width, args.batch_size)[0])
    network = Network(graph, args.batch_size, training=True, threads=1, keep=True)
    network.train_step(*batch_of(args.model, args.batch_size), 3, 0, 0)
    peak, pace = peak_operations(network.isa), copied_bytes()
    rows = measured(network, args.batch_size, peak, pace)
    print(f"{network.isa}, one thread: peak {peak / 1e9:.0f} GOPS, memory {pace / 1e9:.1f} GB/s\n\n{_HEADER}")
    print("| --- " * _HEADER.count(" | ") + "| --- |")
    for row in rows:
        theirs = "" if row["onednn_gops"] is None else f"{row['onednn_gops']:.0f}"
        work = f"{row['gop']:.3f} | {row['mb']:.2f} | {1e3 * row['gop'] / row['mb']:.0f}"
        speed = f"{row['ms']:.2f} | {row['gops']:.0f} | {row['share']:.0%}"
        print(f"| {row['layer']} | {row['pass']} | {work} | {speed} | {theirs} | {row['limit']} |")
    figures = {"isa": network.isa, "peak_gops": peak / 1e9, "memory_gb_s": pace / 1e9, "rows": rows}
    record.write(args.json, "native_layers", figures)


def measured(network: Network, batch: int, peak: float, pace: float) -> list[dict[str, object]]:
    """A row for every pass of every linear layer."""
    theirs, rows = onednn(), []
    nodes = [node for node in network.program.nodes if node.kind == "LINEAR"]
    for node, (name, calls, operations) in zip(nodes, passes(network, batch), strict=True):
        for label in [label for label in _TIMED if label in calls]:
            seconds = cpu_seconds(calls[label])
            moved = moved_bytes(node, label, batch)
            product = theirs(*matrix(node, label, batch)) if theirs and node.layer["groups"] == 1 else None
            other = operations / cpu_seconds(product) / 1e9 if product else None
            rows.append(
                {
                    "layer": name,
                    "pass": label,
                    "gop": operations / 1e9,
                    "mb": moved / 1e6,
                    "ms": 1e3 * seconds,
                    "gops": operations / seconds / 1e9,
                    "share": operations / seconds / peak,
                    "onednn_gops": other,
                    "limit": "dot product" if operations / peak > moved / pace else "memory",
                }
            )
    return rows


def moved_bytes(node: Node, label: str, batch: int) -> int:
    """Bytes of a pass' operands and results: codes and gates one each, sums four."""
    layer, weights = node.layer, node.parameter[1].codes.size
    inputs = batch * layer["in_h"] * layer["in_w"] * layer["channels"]
    outputs = batch * layer["out_h"] * layer["out_w"] * layer["filters"]
    pooled = outputs // (layer["pool_h"] * layer["pool_w"])
    return {
        "forward": inputs + weights + pooled * (2 if layer.get("output") else 4),
        "error": outputs + weights + 4 * inputs,
        "gradient": inputs + outputs + 4 * weights,
    }[label]


def matrix(node: Node, label: str, batch: int) -> tuple[int, int, int]:
    """Rows, columns and length of the product that a pass is."""
    layer = node.layer
    taps = layer["window_h"] * layer["window_w"]
    positions = batch * layer["out_h"] * layer["out_w"]
    return {
        "forward": (positions, layer["filters"], taps * layer["channels"]),
        "error": (positions, layer["channels"], taps * layer["filters"]),
        "gradient": (taps * layer["channels"], layer["filters"], positions),
    }[label]


def onednn() -> Callable[[int, int, int], Callable[[], object]] | None:
    """A function that makes oneDNN's product of unsigned and signed bytes of a size; None without the library."""
    os.environ["OMP_NUM_THREADS"] = "1"
    found = ctypes.util.find_library("dnnl")
    if found is None:
        return None
    product = ctypes.CDLL(found).dnnl_gemm_u8s8s32
    long, pointer, number = ctypes.c_int64, ctypes.c_void_p, ctypes.c_float
    product.argtypes = [*[ctypes.c_char] * 3, *[long] * 3, number, pointer, long, ctypes.c_uint8]
    product.argtypes += [pointer, long, ctypes.c_int8, number, pointer, long, pointer]

    def make(rows: int, columns: int, length: int) -> Callable[[], object]:
        generator = np.random.default_rng(0)
        a = generator.integers(0, 128, (rows, length), np.uint8)
        b = generator.integers(-1, 2, (length, columns), np.int8)
        c, offset = np.zeros((rows, columns), np.int32), np.zeros(1, np.int32)
        a_at, b_at, c_at, offset_at = (array.ctypes.data for array in (a, b, c, offset))
        size = (b"N", b"N", b"F", rows, columns, length)

        def run() -> tuple[np.ndarray, ...]:
            product(*size, 1, a_at, length, 0, b_at, columns, 0, 0, c_at, columns, offset_at)
            return a, b, c, offset

        run()
        if not np.array_equal(c[0], a[0].astype(np.int32) @ b.astype(np.int32)):
            raise SystemExit("oneDNN's product differs")
        return run

    return make


def copied_bytes(size: int = 2**28) -> float:
    """Bytes a second that one thread reads and writes, copying more than the caches hold."""
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    return 2 * size / cpu_seconds(lambda: np.copyto(target, source))


def peak_operations(isa: str) -> float:
    """Operations, two a product, per second and core of an instruction set's dot products on registers.

    VNNI's do 64 products of bytes; AVX2's pair of instructions does 32, with sums of 16 bits.
    """
    if isa not in _PRODUCTS:
        return float("nan")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "dot_peak"
        source = Path(__file__).with_name("dot_peak.c")
        subprocess.run(["cc", "-O3", "-o", program, source], check=True)
        seconds = float(subprocess.run([program, isa], check=True, capture_output=True, text=True).stdout.split()[0])
    return 2 * _PRODUCTS[isa] * 2**26 / seconds


def cpu_seconds(call: Callable[[], object], rounds: int = _ROUNDS) -> float:
    """The least CPU time of a call by this thread: others' work on the machine does not count."""
    least = float("inf")
    for _ in range(rounds):
        begin = time.thread_time()
        call()
        least = min(least, time.thread_time() - begin)
    return least


if __name__ == "__main__":
    main()
