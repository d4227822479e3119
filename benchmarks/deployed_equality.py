#!/usr/bin/env python3
"""Do the deployed forms give Keras' outputs? Counts test images whose scores are equal, of a finished run.

    python -m benchmarks.deployed_equality RUN_DIR

LiteRT and ONNX Runtime run on every test image, the integer engine (from the packed file) and the C code, compiled
with address and undefined-behaviour sanitizers, on the first 1,000. Scores are compared as integer codes, exactly. With
--json it also runs `python -m wage_tf.integer verify` and keeps its verdict. Exit code: 0 if all is equal, 1 if not.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import record
from benchmarks.integer_inference import litert
from wage_tf import datasets, integer
from wage_tf.cli import exits
from wage_tf.errors import UserError
from wage_tf.export import export_model, read_packed
from wage_tf.runs.directory import RunDirectory
from wage_tf.runs.signals import Signals

_BATCH = 250
_FEWER = 1000
_DIFFERENT = 1


def litert_scores(path: Path, images: np.ndarray) -> np.ndarray:
    """Runs a `.tflite` image by image."""
    run = litert(path)
    return np.concatenate([run(image[None]).astype(np.int64) for image in images])


def onnx_scores(path: Path, images: np.ndarray) -> np.ndarray:
    """Runs an `.onnx` on all images at once."""
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"image": images})[0].astype(np.int64)


def c_scores(folder: Path, images: np.ndarray, outputs: int) -> np.ndarray:
    """Compiles the generated C with sanitizers and runs it on all images at once: [images, outputs]."""
    subprocess.run(["make", "-s", "-C", folder, "sanitized"], check=True)
    run = subprocess.run([folder / "sanitized"], input=images.tobytes(), capture_output=True, check=True)
    return np.array([line.split()[-outputs:] for line in run.stdout.splitlines()], np.int64)


def count_equal(scores: np.ndarray, keras_scores: np.ndarray, fraction: int) -> int:
    """Images all of whose integer scores, with `fraction` fraction bits, are exactly Keras' floats."""
    return int((scores == keras_scores[: len(scores)].astype(np.float64) * 2.0**fraction).all(axis=1).sum())


def verdict(run_dir: str) -> tuple[str, bool]:
    """What `verify` says below its table: images, steps and whether all is equal; and the last as a truth value."""
    command = [sys.executable, "-m", "wage_tf.integer", "verify", run_dir]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode > 1:
        raise UserError(run.stderr)
    return "; ".join(line.strip() for line in run.stdout.rpartition("\n\n")[2].splitlines()), run.returncode == 0


def main() -> int:
    """Prints a line per form and returns the exit code."""
    parser = record.parser("deployed_equality", __doc__)
    parser.add_argument("run_dir")
    return exits.run(parser.prog, functools.partial(_compare, parser.parse_args()))


def _compare(args: argparse.Namespace, signals: Signals) -> int:
    run = RunDirectory(args.run_dir)
    config, model = run.read_config(), run.load_model()
    dataset = datasets.load(config.dataset, config.data_dir, image_size=config.image_size)
    batches = dataset.test_batches(_BATCH, config.augmentation)
    images = np.concatenate([batch.numpy() for batch, _ in batches])
    keras_scores = model.predict(images, batch_size=_BATCH, verbose=0)
    fraction = integer.freeze(model).output.fraction
    figures = {}
    with tempfile.TemporaryDirectory() as name:
        forms = {to: export_model(model, Path(name) / to, to) for to in ("litert", "onnx", "packed", "c")}
        graph, _ = read_packed(forms["packed"].path)
        found = {
            "litert": litert_scores(forms["litert"].path, images),
            "onnx": onnx_scores(forms["onnx"].path, images),
            "packed": integer.infer(graph, images[:_FEWER]),
            "c": c_scores(forms["c"].path, images[:_FEWER], keras_scores.shape[1]),
        }
    for form, scores in found.items():
        equal, size = count_equal(scores, keras_scores, fraction), forms[form].size
        ratio = forms[form].float_size / size
        print(f"{form}: {equal:,} of {len(scores):,} images equal; {size:,} bytes, 1/{ratio:.1f} of float32")
        figures[form] = {"equal": equal, "images": len(scores), "bytes": size, "ratio": ratio}
    all_equal = all(figure["equal"] == figure["images"] for figure in figures.values())
    if args.json:
        text, verified = verdict(args.run_dir)
        record.write(args.json, "deployed_equality", {**figures, "verify": text})
        all_equal = all_equal and verified
    return 0 if all_equal else _DIFFERENT


if __name__ == "__main__":
    sys.exit(main())
