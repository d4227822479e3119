"""Does the int8 model run faster than float32, and how small is it? VGG7, batch 1, one thread, everything paired.

    python -m benchmarks.integer_inference [--width 1] [--rounds 50]

One process runs, image by image and in turn: the int8 LiteRT model, the float32 LiteRT model of the same network
(pattern f-f-f-f, TensorFlow's converter) and the generated C compiled by `cc -O3`. Reported are medians, the median of
the paired ratios, and the packed file's size against the weights in float32. Expected: the int8 model at least twice
as fast, the packed file at most 1/14. Weights are untrained: times do not depend on them.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import models
from benchmarks import record, turns
from wage_tf import integer
from wage_tf.export import Card, write_c, write_litert, write_packed

Run = Callable[[np.ndarray], np.ndarray]

SHAPE = (32, 32, 3)
CARD = Card("vgg7", "2-8-8-8", "x/128 - 1")


def litert(path: Path) -> Run:
    """Returns a function of an image that runs a `.tflite` on one thread."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    place, out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(image: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(place, image)
        interpreter.invoke()
        return interpreter.get_tensor(out)

    return run


def float_model(path: Path, width_multiplier: float) -> None:
    """Writes the float32 network's `.tflite`."""
    model = models.build("vgg7", "f-f-f-f", SHAPE, 10, width_multiplier)
    function = tf.function(lambda image: model(image, training=False))
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(tf.TensorSpec((1, *SHAPE), tf.uint8)))
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert())


def compiled_c(folder: Path) -> Run | None:
    """Returns a function of an image that runs the generated C, or None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "wage_net.so"
    flags = ["-std=c99", "-O3", "-march=native", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", str(library), str(folder / "wage_net.c")], check=True)
    infer = ctypes.CDLL(str(library)).wage_infer
    scores = np.zeros((1, 10), np.int32)

    def run(image: np.ndarray) -> np.ndarray:
        infer(image.ctypes.data_as(ctypes.c_void_p), scores.ctypes.data_as(ctypes.c_void_p))
        return scores

    return run


def paired_times(runs: dict[str, Run], images: np.ndarray, warm_up: int = 5) -> dict[str, np.ndarray]:
    """Milliseconds of each round: every image goes through all runs, in an order that turns round by round."""
    given = {name: iter(images) for name in runs}
    steps = {name: turns.timed(lambda run=run, name=name: run(next(given[name]))) for name, run in runs.items()}
    found = turns.alternate(steps, len(images) - warm_up, warm_up)
    return {name: 1000 * np.array(seconds) for name, seconds in found.items()}


def main() -> None:
    """Measures and prints."""
    parser = record.parser("integer_inference", __doc__)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()
    graph = integer.freeze(models.build("vgg7", "2-8-8-8", SHAPE, 10, arguments.width))
    images = np.random.default_rng(0).integers(0, 256, (arguments.rounds + 5, 1, *SHAPE)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        packed = write_packed(folder / "net.wage", graph, CARD)
        small = write_litert(folder / "int8.tflite", graph, CARD)
        write_c(folder / "c", graph, CARD)
        float_model(folder / "float32.tflite", arguments.width)
        large = (folder / "float32.tflite").stat().st_size
        runs = {"int8 LiteRT": litert(folder / "int8.tflite"), "float32 LiteRT": litert(folder / "float32.tflite")}
        in_c = compiled_c(folder / "c")
        if in_c is not None:
            runs["C, -O3 -march=native"] = in_c
        expected = integer.infer(graph, images[0])
        assert all((run(images[0]) == expected).all() for name, run in runs.items() if "float32" not in name)
        times = paired_times(runs, images)
    weights = 4 * sum(kernel.codes.size for kernel in graph.kernels.values())
    for name, values in times.items():
        print(f"{name:22}{np.median(values):9.2f} ms, quartiles {np.percentile(values, (25, 75)).round(2)}")
    speed = np.median(times["float32 LiteRT"] / times["int8 LiteRT"])
    print(f"int8 is {speed:.2f} times as fast as float32 (median of {arguments.rounds} pairs)")
    print(
        f"packed {packed:,} bytes, 1/{weights / packed:.1f} of the weights in float32; LiteRT {small:,} and {large:,}"
    )
    medians = {name: float(np.median(values)) for name, values in times.items()}
    figures = {
        "int8_ms": medians["int8 LiteRT"],
        "float_ms": medians["float32 LiteRT"],
        "c_ms": medians.get("C, -O3 -march=native"),
        "speed": float(speed),
        "packed_bytes": packed,
        "packed_ratio": weights / packed,
        "int8_bytes": small,
        "float_bytes": large,
    }
    record.write(arguments.json, "integer_inference", figures)


if __name__ == "__main__":
    main()
