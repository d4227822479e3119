#!/usr/bin/env python3
"""Do LiteRT's scores depend on who runs the file? Two forms of a network in four runtimes, beside the integer engine.

    python -m benchmarks.runtimes lenet5-mnist [--images 500]

The forms are those of `--to litert` and `--to litert-micro`; the runtimes LiteRT with XNNPACK, with its built-in
kernels, with its reference kernels, and LiteRT for Microcontrollers (PyPI's tflite-micro), whose memory is counted too.
Printed for each are how many of the first test images have all scores equal, how many the same class, and the largest
difference.
"""

from __future__ import annotations

import argparse
import functools
import re
import subprocess
import sys
from collections.abc import Callable

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from benchmarks import record
from wage_tf import datasets, integer, zoo
from wage_tf.cli import exits
from wage_tf.export import Card, litert, litert_micro
from wage_tf.export.stages import fused, stages
from wage_tf.integer.graph import Graph
from wage_tf.integer.nodes import Rescale
from wage_tf.runs.directory import RunDirectory
from wage_tf.runs.signals import Signals

MICRO = "LiteRT Micro"
RESOLVERS = {
    "XNNPACK": OpResolverType.AUTO,
    "built-in kernels": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference kernels": OpResolverType.BUILTIN_REF,
}
RUNTIMES = (*RESOLVERS, MICRO)
_ARENA = 2**26
_BATCH = 250
_COUNT_MEMORY = """
import sys
from tflite_micro import runtime
interpreter = runtime.Interpreter.from_bytes(sys.stdin.buffer.read(), arena_size=int(sys.argv[1]))
interpreter.invoke()
interpreter.print_allocations()
"""


def forms(graph: Graph) -> dict[str, tuple[bytes, Callable[[np.ndarray], np.ndarray]]]:
    """Every form's file, and what its input is made of images."""
    network, card = stages(graph), Card("net", "", "")
    table = next(node.codes for node in graph.nodes if isinstance(node, Rescale))
    return {
        "litert": (litert.to_bytes(network, card), lambda images: images),
        "litert-micro": (litert_micro.to_bytes(fused(network), card), lambda images: table[images]),
    }


def scores(runtime: str, content: bytes, inputs: np.ndarray) -> np.ndarray:
    """A file's scores in one of the runtimes, one input after the other, int64 [inputs, outputs].

    Raises:
        RuntimeError: If the runtime has no kernel for it.
    """
    run = micro(content) if runtime == MICRO else _litert(content, RESOLVERS[runtime])
    return np.concatenate([run(row[None]) for row in inputs]).astype(np.int64)


def micro(content: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """A function of one input that runs a file in LiteRT for Microcontrollers."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(content, arena_size=_ARENA)

    def run(row: np.ndarray) -> np.ndarray:
        interpreter.set_input(row, 0)
        interpreter.invoke()
        return interpreter.get_output(0).copy()

    return run


def _litert(content: bytes, resolver: OpResolverType) -> Callable[[np.ndarray], np.ndarray]:
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=resolver)
    run = interpreter.get_signature_runner()
    (name,) = run.get_input_details()
    return lambda row: run(**{name: row})["scores"]


def arena_bytes(content: bytes) -> int:
    """Memory that LiteRT for Microcontrollers takes for a file."""
    command = [sys.executable, "-c", _COUNT_MEMORY, str(_ARENA)]
    printed = subprocess.run(command, input=content, capture_output=True, check=True).stderr.decode()
    return int(re.search(r"Arena allocation total (\d+) bytes", printed)[1])


def compared(found: np.ndarray, expected: np.ndarray) -> dict[str, int]:
    """Rows that are equal, rows with the same largest score, and the largest difference."""
    return {
        "images": len(expected),
        "equal": int((found == expected).all(axis=1).sum()),
        "classes": int((found.argmax(axis=1) == expected.argmax(axis=1)).sum()),
        "difference": int(np.abs(found - expected).max()),
    }


def main() -> int:
    """Prints a line per form and runtime; exit code 1 if the form for microcontrollers is not exact everywhere."""
    parser = record.parser("runtimes", __doc__)
    parser.add_argument("network", metavar="NAME|RUN_DIR", help="of the zoo, or a finished run")
    parser.add_argument("--images", type=int, default=500, help="the first test images (default: 500)")
    return exits.run(parser.prog, functools.partial(_compare, parser.parse_args()))


def _compare(args: argparse.Namespace, signals: Signals) -> int:
    graph, dataset = _source(args.network)
    batches = (images.numpy() for images, _ in dataset.test_batches(_BATCH))
    images = np.concatenate([next(batches) for _ in range(-(-args.images // _BATCH))])[: args.images]
    expected = integer.infer(graph, images).reshape(len(images), -1)
    figures, exact = {}, True
    for form, (content, inputs) in forms(graph).items():
        figures[form] = {"bytes": len(content)}
        for runtime in RUNTIMES:
            try:
                found = compared(scores(runtime, content, inputs(images)), expected)
            except RuntimeError:
                print(f"{form}, {runtime}: does not run")
                continue
            if runtime == MICRO:
                found["arena"] = arena_bytes(content)
            print(f"{form}, {runtime}: {', '.join(f'{name} {value:,}' for name, value in found.items())}")
            figures[form][runtime] = found
            exact &= form == "litert" or found["equal"] == len(images)
    record.write(args.json, "runtimes", figures)
    return 0 if exact else 1


def _source(network: str) -> tuple[Graph, datasets.Dataset]:
    if network in zoo.names():
        return zoo.graph(network), datasets.load(zoo.card(network).dataset)
    run = RunDirectory(network)
    config = run.read_config()
    return integer.freeze(run.load_model()), datasets.load(config.dataset, config.data_dir)


if __name__ == "__main__":
    sys.exit(main())
