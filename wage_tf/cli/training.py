"""What train.py does once TensorFlow is there: trains by its arguments, goes on with a training, or evaluates one."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import keras

from wage_tf import costs, datasets, files, losses, recipes, schedules
from wage_tf.callbacks import QuantizationHistograms
from wage_tf.cli import exits, sources
from wage_tf.datasets import Dataset
from wage_tf.distribution import cluster, devices
from wage_tf.distribution.agreement import check_same_arguments, on_every_worker, open_together
from wage_tf.distribution.devices import Devices
from wage_tf.distribution.trainer import devices_of
from wage_tf.errors import UserError
from wage_tf.runs import checkpoints, training
from wage_tf.runs.checkpoints import State
from wage_tf.runs.config import Data, RunConfig, is_known_to_be_unstable, resolve
from wage_tf.runs.directory import RunDirectory
from wage_tf.runs.guards import StopOnNonFinite, StopOnSignal
from wage_tf.runs.recorder import RunRecorder
from wage_tf.runs.signals import Signals
from wage_tf.runs.source import Source

_PROBE = 128


def train(args: argparse.Namespace, signals: Signals) -> None:
    """Trains as the arguments say, or goes on with a training."""
    devices = _choose_devices(args)
    with devices.reporting_lost_workers():
        _train_on(devices, args, signals)


def _choose_devices(args: argparse.Namespace) -> Devices:
    """The devices that the arguments ask for; to be called before anything else uses TensorFlow."""
    if args.strategy == "mirrored":
        return devices.mirrored(args.logical_devices)
    if args.strategy is None:
        return devices.one_device()
    workers = cluster.from_environment()
    port = workers.addresses[workers.index].rpartition(":")[2]
    print(
        f"security: port {port} of all interfaces is open, without authentication, and whoever reaches it can read and "
        "write your files: private networks only (docs/scaling.md)\n"
        f"worker {workers.index} of {len(workers.addresses)} waits for the others",
        flush=True,
    )
    return devices.multiworker(workers)


def _train_on(devices: Devices, args: argparse.Namespace, signals: Signals) -> None:
    """Trains on the given devices; of several workers, the chief writes and prints for all."""
    config, dataset, run = on_every_worker(devices, lambda: configuration_of(args))
    check_same_arguments(devices, config)
    model = training.prepare(config, dataset, devices)
    with contextlib.ExitStack() as until_the_end:

        def open_and_lock() -> State | None:
            until_the_end.enter_context(files.locked(run.path))
            return open_run(run, config, args.resume, args.overwrite)

        state = open_together(devices, open_and_lock)
        _begin(run, config, dataset, model, state, devices)
        fit(run, config, dataset, model, state, signals)


def _begin(
    run: RunDirectory,
    config: RunConfig,
    dataset: Dataset,
    model: keras.Model,
    state: State | None,
    devices: Devices,
) -> None:
    """Says what will run, and what is known to go wrong with it."""
    if devices.is_chief:
        done = 0 if state is None else len(state.rows)
        if done < config.epochs:
            print(summary(config, dataset, model, run, devices), flush=True)
        else:
            print(f"{run.path} has all its {done} epochs")
    if is_known_to_be_unstable(config):
        exits.show_warning(
            f"{config.bits} with beta {config.beta} is known to diverge: weights this wide are small against the "
            "update's grid; leave --beta out, or take G wider than W"
        )


def configuration_of(args: argparse.Namespace) -> tuple[RunConfig, Dataset, RunDirectory]:
    """The resolved configuration that the arguments, a search's best pattern and the recipe give; data and directory.

    Of a run that is resumed, what the arguments leave open is as it was.
    """
    chosen = {name: value for name, value in vars(args).items() if name in RunConfig.model_fields and value is not None}
    if args.source is not None:
        chosen["source"] = Source.of(args.source, args.weights or "keep")
    if args.bits_from is not None:
        chosen = {**_from_search(args.bits_from, args.pattern, chosen.get("dataset")), **chosen}
    name = chosen.setdefault("dataset", "digits")
    dataset = datasets.load(name, chosen.get("data_dir"), chosen.get("limit"), chosen.get("image_size"))
    config = resolve(Data.of(dataset), recipes.get(name, dataset.input_shape), **chosen)
    run = RunDirectory(args.run_dir or default_run_directory(config))
    if args.resume and run.holds_a_run():
        config = config.continuing(run.read_config(), chosen)
    return config, training.data_for(config, dataset), run


def _from_search(path: str, pattern: str | None, dataset: str | None) -> dict[str, object]:
    """What a search found decides; of its data set, unless another is named."""
    from wage_tf.search import best  # it brings KerasTuner

    try:
        found = best.training_of(path, pattern)
    except UserError as error:
        raise UserError(f"--bits-from: {error}") from error
    of_data = ("dataset", "data_dir", "image_size", "schedule") if dataset in (None, found.dataset) else ()
    return {name: getattr(found, name) for name in ("model", "width", "bits", *of_data)}


def open_run(run: RunDirectory, config: RunConfig, resume: bool, overwrite: bool) -> State | None:
    """Makes a new run's directory; to resume, checks the one that is there and returns its latest state."""
    if overwrite:
        run.clear()
    state = None
    if resume and run.holds_a_run():
        run.check_resumable(config)
        state = checkpoints.load_latest(run.checkpoints, exits.show_warning)
        if state is None or len(state.rows) <= config.epochs:
            run.write_config(config)
    else:
        run.create(config)
    run.checkpoints.mkdir(exist_ok=True)
    for folder in (run.path, run.checkpoints):
        files.remove_unfinished(folder)
    return state


def fit(
    run: RunDirectory, config: RunConfig, dataset: Dataset, model: keras.Model, state: State | None, signals: Signals
) -> None:
    """Trains to the end, which a complete state is at, and writes the model and the results."""
    is_chief = devices_of(model).is_chief
    steps = dataset.steps_per_epoch(config.batch_size)
    recorder = RunRecorder(run if is_chief else None, steps, config.checkpoint_steps, state)
    callbacks = [StopOnNonFinite()]
    if is_chief:
        callbacks.append(keras.callbacks.TensorBoard(run.tensorboard))
    if is_chief and config.histogram_freq:
        probe = dataset.probe_batch(min(config.batch_size, _PROBE), config.augmentation)
        callbacks.append(QuantizationHistograms(run.tensorboard / "quantized", *probe, config.histogram_freq))
    with StopOnSignal(recorder, signals) as stop:
        verbose = (1 if sys.stdout.isatty() else 2) if is_chief else 0
        training.fit(model, config, dataset, recorder, [*callbacks, stop], state, verbose)
    if is_chief:
        print(training.finish(run, config, model, recorder))


def evaluate(args: argparse.Namespace) -> None:
    """Prints the test error of a finished run's model, on the run's own data unless another is named."""
    run, model = sources.load(args.evaluate)
    config, dataset = sources.data_of(run, model, args.dataset, args.data_dir, args.image_size)
    classes = sources.labels_of(run)
    if classes and tuple(dataset.class_names) != classes:
        raise UserError(f"{dataset.name}: classes {_few(dataset.class_names)}, the network has {_few(classes)}")
    if not dataset.test_size:
        raise UserError(f"{config.dataset} has no test images to evaluate on")
    model.compile(loss=losses.NAMED[config.loss](), metrics=[training.metric_of(config)])
    batches = dataset.test_batches(config.batch_size, config.augmentation)
    error = model.evaluate(batches, verbose=int(sys.stdout.isatty()), return_dict=True)["error"]
    print(f"test error {error:.2f}% on {dataset.test_size} images of {config.dataset}")


def _few(names: Sequence[str]) -> str:
    return ", ".join([*names[:3], "..."] if len(names) > 3 else names)


def default_run_directory(config: RunConfig) -> Path:
    """runs/DATASET-MODEL-BITS-sSEED, with the width where it is not 1."""
    dataset = Path(config.dataset).name or "images"
    bits = "per-layer" if config.bits.blocks else config.bits
    width = "" if config.width == 1 else f"-x{config.width:g}"
    return Path("runs") / f"{dataset}-{config.model}{width}-{bits}-s{config.seed}"


def summary(config: RunConfig, dataset: Dataset, model: keras.Model, run: RunDirectory, devices: Devices) -> str:
    """What will run, for the terminal."""
    shape = "x".join(str(side) for side in dataset.input_shape)
    steps = dataset.steps_per_epoch(config.batch_size)
    return "\n".join(
        [
            f"data      {config.dataset} {shape}, {dataset.train_size:,} training, {dataset.test_size:,} test images",
            f"network   {config.model}, width {config.width:g}, bits {config.bits} (W-A-G-E)",
            f"training  {config.epochs} epochs of {steps} steps of {config.batch_size} images, seed {config.seed}",
            f"eta       {schedules.to_text(config.schedule)}",
            *([] if devices.strategy is None else [f"devices   {devices}"]),
            f"run       {run.path}",
            "",
            costs.format_table(costs.model_costs(model)),
            "",
        ]
    )
