#!/usr/bin/env python3
"""Do the deployed forms give Keras' outputs? Counts test images whose scores are equal, of a finished run.

    python -m benchmarks.deployed_equality RUN_DIR

LiteRT runs on every test image, the integer engine (from the packed file) and the C code, compiled with address and
undefined-behaviour sanitizers, on the first 1,000. Scores are compared as integer codes, exactly. With --json it also
runs `python -m wage_tf.integer verify` and keeps its verdict.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from benchmarks import record
from wage_tf import datasets, integer, training
from wage_tf.commands import load_run
from wage_tf.export import export_run, read_packed

_BATCH = 250


def litert_scores(path: Path, images: np.ndarray) -> np.ndarray:
    """Runs a `.tflite` image by image."""
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    place, out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    scores = []
    for image in images:
        interpreter.set_tensor(place, image[None])
        interpreter.invoke()
        scores.append(interpreter.get_tensor(out)[0].astype(np.int64))
    return np.stack(scores)


def c_scores(folder: Path, images: np.ndarray) -> np.ndarray:
    """Compiles the generated C with sanitizers and runs it on all images at once."""
    subprocess.run(["make", "-s", "-C", folder, "sanitized"], check=True)
    run = subprocess.run([folder / "sanitized"], input=images.tobytes(), capture_output=True, check=True)
    return np.array([line.split()[-10:] for line in run.stdout.splitlines()], np.int64)


def verdict(run_dir: str) -> str:
    """What `verify` says below its table: images, steps, and whether all is equal."""
    command = [sys.executable, "-m", "wage_tf.integer", "verify", run_dir]
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return "; ".join(line.strip() for line in printed.rpartition("\n\n")[2].splitlines())


def main() -> None:
    """Prints a line per form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir")
    record.add_argument(parser)
    args = parser.parse_args()

    config, model = load_run(args.run_dir)
    dataset = datasets.load(config.dataset, config.data_dir)
    batches = dataset.test_batches(_BATCH, training.recipe_of(config, dataset).augmentation)
    images = np.concatenate([batch.numpy() for batch, _ in batches])
    keras_scores = model.predict(images, batch_size=_BATCH, verbose=0)
    unit = 2.0 ** -integer.freeze(model).fractions[-1]
    expected = (keras_scores / unit).astype(np.int64)
    with tempfile.TemporaryDirectory() as name:
        forms = {to: export_run(args.run_dir, to, Path(name) / to) for to in ("litert", "packed", "c")}
        graph, _ = read_packed(forms["packed"].path)
        found = {
            "litert": litert_scores(forms["litert"].path, images),
            "packed": integer.infer(graph, images[:1000]),
            "c": c_scores(forms["c"].path, images[:1000]),
        }
        figures = {}
        for form, scores in found.items():
            equal = int((scores == expected[: len(scores)]).all(axis=1).sum())
            size = forms[form].size
            ratio = forms[form].float_size / size
            print(f"{form}: {equal:,} of {len(scores):,} images equal; {size:,} bytes, 1/{ratio:.1f} of float32")
            figures[form] = {"equal": equal, "images": len(scores), "bytes": size, "ratio": ratio}
    if args.json:
        record.write(args.json, "deployed_equality", {**figures, "verify": verdict(args.run_dir)})


if __name__ == "__main__":
    main()
