"""Packs a training for a machine with a GPU and JAX but no TensorFlow, and takes the result back as a run.

    python -m experiments.pjrt pack --dataset cifar10 --bits 2,8,8,8 --out pack
    python experiments/pjrt_run.py pack                     # there; JAX and NumPy are enough
    python -m experiments.pjrt load pack --run-dir runs/cifar10-full

A pack is the StableHLO of the network's own compiled training and test steps, images and labels, the initial
variables, and digests of the weights after the first steps as TensorFlow's ordinary training has
them here. The learning rate and the step count are inputs, so one program serves the whole schedule. What comes back
is a run directory as train.py makes it: evaluate, verify and export it, or go on with `train.py --resume`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from experiments import pjrt_run, provenance
from experiments.pjrt_programs import lowered_programs, named_variables
from wage_tf import files
from wage_tf.cli import exits, parsers, train
from wage_tf.cli.parsers import OneLineParser
from wage_tf.cli.training import configuration_of
from wage_tf.cli.training_arguments import add_training
from wage_tf.datasets import Dataset
from wage_tf.datasets.splits import ArraySplit
from wage_tf.errors import UserError
from wage_tf.runs import checkpoints, training
from wage_tf.runs.checkpoints import State
from wage_tf.runs.config import RunConfig
from wage_tf.runs.directory import RunDirectory, summarize, versions


def pack(args: argparse.Namespace) -> int:
    """Writes a pack as the arguments say."""
    config, dataset, _ = configuration_of(args)
    _check_fits(dataset)
    data = _data(dataset)
    digest = pjrt_run.data_digest(data)
    if args.images_of:
        _check_same_data(args.images_of, digest)
    out = _new_directory(args.out)
    manifest = _write_programs(out, config, dataset)
    if not args.images_of:
        _write_arrays(out / pjrt_run.DATA, data)
    manifest.update(
        data=digest,
        check=reference_digests(config, dataset, args.check_steps),
        config=config.as_json(),
        commit=provenance.commit(),
        class_names=dataset.class_names,
        versions=versions(),
    )
    files.write_json(out / pjrt_run.MANIFEST, manifest)
    for path in sorted(out.iterdir()):
        print(f"{path.stat().st_size / 2**20:8.2f} MiB  {path}")
    return 0


def load(args: argparse.Namespace) -> int:
    """Writes the run directory of a packed training, as far as it has come."""
    try:
        source = pjrt_run.Pack(args.pack, args.data)
        state = pjrt_run.latest_state(Path(args.out or Path(args.pack) / "out"), source.identity)
    except pjrt_run.PackError as error:
        raise UserError(str(error)) from None
    if state is None:
        raise UserError(f"{args.pack} has no sound state of a training: run pjrt_run.py first, or give its --out")
    content = json.dumps(source.manifest["config"]).encode()
    config = RunConfig.from_json(Path(args.pack) / pjrt_run.MANIFEST, content, "pack the training again")
    class_names = tuple(source.manifest["class_names"])
    dataset = Dataset.from_arrays(config.dataset, **source.data, class_names=class_names)
    model = _built(config, dataset)
    known = named_variables(model)
    for name in known.keys() & state.values.keys():
        known[name].assign(state.values[name])
    run = RunDirectory(args.run_dir)
    run.create(config)
    run.checkpoints.mkdir()
    checkpoints.save(run.checkpoints, State.of(model, state.step, tuple(state.rows), state.seconds))
    run.write_metrics(state.rows)
    files.write_json(
        provenance.path_beside(run.path),
        [{"commit": source.manifest["commit"], "hardware": session} for session in state.sessions],
    )
    print(pjrt_run.comparison(source, state))
    if len(state.rows) < config.epochs:
        print(
            f"{run.path}: step {state.step:,}, {len(state.rows)} of {config.epochs} epochs; train.py --resume goes on"
        )
        return 0
    with files.replacing(run.model) as path:
        model.save(path)
    run.write_results(summarize(config, state.rows, state.seconds))
    print(f"{run.path}: a complete run of {config.epochs} epochs")
    return 0


def reference_digests(config: RunConfig, dataset: Dataset, steps: int) -> list[dict[str, str]]:
    """Trains some steps with TensorFlow and returns a digest of every weight after each of them."""
    steps = min(steps, config.epochs * dataset.steps_per_epoch(config.batch_size))
    if not steps:
        return []
    model = training.prepare(config, dataset)
    found = []

    class Digests(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            found.append({v.path: pjrt_run.digest(np.asarray(v)) for v in self.model.trainable_variables})

    augmentation = config.augmentation
    batches = dataset.train_batches(config.batch_size, config.seed, augmentation)
    model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[Digests()])
    return found


def _new_directory(path: str) -> Path:
    out = Path(path)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out: {out} is not an empty directory; give another")
    out.mkdir(parents=True, exist_ok=True)
    return out


def _built(config: RunConfig, dataset: Dataset) -> keras.Model:
    """The network of a configuration with every variable there: weights, optimizer, metrics."""
    model = training.prepare(config, dataset)
    model.optimizer.build(model.trainable_variables)
    augmentation = config.augmentation
    model.evaluate(*dataset.probe_batch(1, augmentation), verbose=0)
    model.reset_metrics()
    return model


def _write_programs(out: Path, config: RunConfig, dataset: Dataset) -> dict[str, object]:
    """Writes programs and initial variables; returns what the manifest says of them and of how to run them."""
    model = _built(config.model_copy(update={"schedule": config.schedule[:1]}), dataset)
    variables = named_variables(model)
    augmentation = config.augmentation
    programs = {}
    for name, program in lowered_programs(model, dataset, config.batch_size, training.TEST_BATCH, augmentation).items():
        files.write_bytes(out / f"{name}.bin", program.blob)
        programs[name] = {"file": f"{name}.bin", "arguments": program.arguments, "results": program.results}
    _write_arrays(out / "variables.npz", {f"v{i}": np.asarray(v) for i, v in enumerate(variables.values())})
    return {
        "format": pjrt_run.FORMAT,
        "programs": programs,
        "variables": list(variables),
        "metrics": [variable.path for variable in model.metrics_variables],
        "train_size": dataset.train_size,
        "test_size": dataset.test_size,
        "batch_size": config.batch_size,
        "test_batch_size": training.TEST_BATCH,
        "epochs": config.epochs,
        "schedule": config.schedule,
        "seed": config.seed,
        "augmentation": augmentation is not None,
        "files": _digests(out, ["variables.npz", *(about["file"] for about in programs.values())]),
    }


def _data(dataset: Dataset) -> dict[str, np.ndarray]:
    """Images and labels, as `pjrt_run.Pack` has them."""
    found = {}
    for part, split in (("train", dataset.train), ("test", dataset.test)):
        if split is None:
            continue
        ((images, labels),) = split.in_order(split.size)
        found.update({f"x_{part}": images.numpy(), f"y_{part}": labels.numpy().astype(np.int32)})
    return found


def _check_same_data(path: str, digest: str) -> None:
    try:
        manifest = pjrt_run.Pack(path).manifest
    except pjrt_run.PackError as error:
        raise UserError(f"--data: {error}") from None
    if manifest["data"] != digest:
        raise UserError(f"--data: {path} holds other images than this training has")


def _check_fits(dataset: Dataset) -> None:
    if not isinstance(dataset.train, ArraySplit):
        raise UserError(f"{dataset.name} is read from files while training; only images that fit in memory are packed")
    if dataset.input_shape[-1] not in (1, 3):
        raise UserError(f"{dataset.name}: images of 1 or 3 channels are packed; received {dataset.input_shape[-1]}")


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    files.write_bytes(path, content.getvalue())


def _digests(folder: Path, names: Sequence[str]) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = OneLineParser(prog="experiments.pjrt", description=__doc__.splitlines()[0])
    commands = result.add_subparsers(required=True, metavar="pack|load")
    packing = commands.add_parser("pack", help="write a training's programs and data", prog=f"{result.prog} pack")
    packing.set_defaults(**vars(train.parser().parse_args([])))
    packing.set_defaults(command=pack, checkpoint_steps=0, histogram_freq=0)
    packing.add_argument("--out", required=True, metavar="DIR", help="where the pack goes: a new or empty directory")
    leave_out = "leave out the images: they are those of this other pack"
    packing.add_argument("--data", dest="images_of", metavar="PACK", help=leave_out)
    add_training(packing)
    packing.add_argument(
        "--check-steps",
        type=parsers.natural,
        default=20,
        metavar="N",
        help="train N steps here, for pjrt_run.py to compare its weights with (default 20)",
    )
    loading = commands.add_parser("load", help="take a training back as a run", prog=f"{result.prog} load")
    loading.set_defaults(command=load)
    loading.add_argument("pack", metavar="DIR", help="the pack")
    loading.add_argument("--data", metavar="PACK", help="the pack that holds the images, if not this one")
    loading.add_argument("--out", metavar="DIR", help="where pjrt_run.py kept its states (default: DIR/out)")
    loading.add_argument("--run-dir", required=True, metavar="RUN", help="the run directory to write")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    arguments = parser()
    args = arguments.parse_args(argv)
    return exits.run(arguments.prog, lambda signals: args.command(args))


if __name__ == "__main__":
    sys.exit(main())
