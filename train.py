#!/usr/bin/env python3
"""Trains a network in low-bit integers: `python train.py --dataset cifar10 --bits 2,8,8,8`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from wage_tf.callbacks import RunRecorder
    from wage_tf.checkpoints import State
    from wage_tf.datasets import Dataset
    from wage_tf.distribution.devices import Devices
    from wage_tf.runs import RunConfig, RunDirectory

_USER_ERROR = 2
_DIVERGED = 1
_WORKER_LOST = 3
_LARGEST = 2**31 - 1

_EPILOG = """\
examples:
  python train.py                                          LeNet-5 on scikit-learn's digits, about a minute
  python train.py --dataset mnist --learning-rate 8 --epochs 3
  python train.py --dataset cifar10 --bits 2,8,8,8         VGG7 with the paper's recipe, 300 epochs
  python train.py --dataset cifar10 --bits f,f,f,f         the same network in float32, as baseline
  python train.py --dataset path/to/images --model vgg7    your own images, in path/to/images/train/<class>/
  python train.py --strategy mirrored                      on all GPUs of this machine, with the same result
  tensorboard --logdir runs                                curves and histograms of the quantized tensors

exit codes: 0 done, 1 the training diverged, 2 wrong input, 3 another worker was lost, 130/143 stopped by SIGINT/SIGTERM
"""


class OneLineParser(argparse.ArgumentParser):
    """Reports a wrong argument in one line on stderr."""

    def error(self, message: str) -> NoReturn:
        self.exit(_USER_ERROR, f"{self.prog}: error: {message} (see --help)\n")


def positive_int(text: str) -> int:
    """An argument that counts something: at least 1."""
    return _number(text, int, lambda value: 1 <= value <= _LARGEST, f"an integer from 1 to {_LARGEST}")


def natural(text: str) -> int:
    """An argument that may also be 0."""
    return _number(text, int, lambda value: 0 <= value <= _LARGEST, f"an integer from 0 to {_LARGEST}")


def positive_float(text: str) -> float:
    """A positive number."""
    return _number(text, float, lambda value: 0 < value <= 1e6, "a number above 0 and up to 1e6")


def width_multiplier(text: str) -> float:
    """A multiplier of a network's hidden units."""
    return _number(text, float, lambda value: 0 < value <= 100, "a number above 0 and up to 100")


def parser() -> argparse.ArgumentParser:
    """The command line of train.py."""
    result = OneLineParser(
        prog="train.py",
        description="Trains a network whose weights, activations, gradients and errors are low-bit integers (WAGE). "
        "A recipe for each data set fills in what is not given.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = result.add_argument_group("data")
    data.add_argument(
        "--dataset",
        default="digits",
        metavar="NAME|PATH",
        help="digits (default, needs no network), mnist, fashion_mnist, cifar10, cifar100, svhn_cropped, imagenet2012, "
        "or a folder of images, PATH/train/<class>/* and optionally PATH/test/<class>/*",
    )
    data.add_argument("--data-dir", metavar="DIR", help="directory of TensorFlow Datasets (default: TFDS_DATA_DIR)")
    data.add_argument("--limit", type=positive_int, metavar="N", help="train on the first N training images only")
    data.add_argument(
        "--image-size", type=positive_int, metavar="N", help="scale and crop the images of a folder to NxN pixels"
    )
    network = result.add_argument_group("network")
    widths = network.add_mutually_exclusive_group()
    widths.add_argument(
        "--bits",
        metavar="W,A,G,E",
        help="widths of weights, activations, gradients, errors: 1 to 16 for W, 2 to 16 for the others, f for float32 "
        "(default 2,8,8,8)",
    )
    widths.add_argument(
        "--bits-from",
        metavar="PATH",
        help="a search's best.json or run directory (tuner.py): its widths, data, network and eta where not given here",
    )
    network.add_argument("--pattern", metavar="NAME", help="with --bits-from RUN_DIR: this trial's, not the best one's")
    network.add_argument("--model", metavar="NAME", help="lenet5, vgg7, alexnet or mlp (default: the recipe's)")
    network.add_argument(
        "--width", type=width_multiplier, default=1.0, metavar="X", help="multiplier of the hidden layers' units"
    )
    network.add_argument(
        "--beta",
        type=positive_float,
        metavar="X",
        help="beta of the initialization, 1.5 in the paper (default: 1.5*2^(W-2), so that wide weights train too)",
    )
    training = result.add_argument_group("training")
    training.add_argument("--batch-size", type=positive_int, metavar="N", help="images per step")
    training.add_argument("--epochs", type=positive_int, metavar="N", help="passes over the training images")
    rate = training.add_mutually_exclusive_group()
    rate.add_argument("--learning-rate", type=positive_float, metavar="ETA", help="one eta throughout, a power of two")
    rate.add_argument(
        "--schedule", metavar="ETA@EPOCH,...", help='eta and the epoch it starts from, such as "8@0,1@200,0.125@250"'
    )
    training.add_argument("--seed", type=natural, default=0, metavar="N", help="decides the whole run (default 0)")
    devices = result.add_argument_group("devices")
    devices.add_argument(
        "--strategy",
        choices=("mirrored", "multiworker"),
        help="train on several devices, to bit for bit the weights of one: mirrored takes all GPUs of this machine, "
        "multiworker those of all machines in TF_CONFIG. Each takes an equal part of the batch (docs/scaling.md)",
    )
    devices.add_argument(
        "--logical-devices",
        type=positive_int,
        metavar="N",
        help="with --strategy mirrored: N devices made of this machine's CPU, to try it out; no faster than one",
    )
    run = result.add_argument_group("run")
    run.add_argument("--run-dir", metavar="DIR", help="where the run is kept (default: runs/ and its settings)")
    again = run.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint")
    again.add_argument("--overwrite", action="store_true", help="remove the run that is in the run directory first")
    run.add_argument(
        "--checkpoint-steps",
        type=natural,
        default=0,
        metavar="N",
        help="a checkpoint every N steps as well as every epoch (default 0: every epoch only)",
    )
    run.add_argument(
        "--histogram-freq",
        type=natural,
        default=1,
        metavar="N",
        help="TensorBoard histograms of W, A, E, G every N epochs (default 1; 0 for none)",
    )
    run.add_argument(
        "--evaluate",
        metavar="RUN_DIR",
        help="only print the test error of a finished run's model; --data-dir names another place of its data",
    )
    run.add_argument("--verbose", action="store_true", help="show TensorFlow's own messages")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    arguments = parser()
    args = arguments.parse_args(argv)
    if args.pattern and args.bits_from is None:
        arguments.error("--pattern needs --bits-from RUN_DIR")
    if args.logical_devices and args.strategy != "mirrored":
        arguments.error("--logical-devices needs --strategy mirrored")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            return _run(args, arguments, argv)
    except KeyboardInterrupt:
        return _stopped(args, signal.SIGINT, argv)


def _run(args: argparse.Namespace, arguments: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Trains or evaluates, and gives every way to end its line and its exit code."""
    with quiet_tensorflow(args.verbose):
        import tensorflow as tf

        from wage_tf.callbacks import Diverged, Interrupted
        from wage_tf.distribution.devices import WorkerLost
        from wage_tf.errors import UserError
        from wage_tf.search import best
    try:
        if args.bits_from is not None:
            arguments.set_defaults(**best.training_settings(args.bits_from, args.pattern))
            args = arguments.parse_args(argv)
        if args.evaluate is not None:
            evaluate(args.evaluate, args.data_dir)
        else:
            train(args)
    except UserError as error:
        return _fail(str(error), _USER_ERROR)
    except OSError as error:
        return _fail(f"{error.filename or 'a file'}: {error.strerror or error}", _USER_ERROR)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        return _fail("the memory is exhausted: try a smaller --batch-size or --width", _USER_ERROR)
    except Diverged as error:
        return _fail(f"the training diverged: {error}; try a smaller --learning-rate", _DIVERGED)
    except WorkerLost as error:
        return _fail(f"another worker was lost ({error}); start all of them again with --resume", _WORKER_LOST)
    except Interrupted as stop:
        return _stopped(args, stop.signum, argv)
    return 0


def train(args: argparse.Namespace) -> None:
    """Trains as the arguments say, or goes on with a training."""
    devices = choose_devices(args)
    with devices.reporting_lost_workers():
        train_on(devices, args)


def choose_devices(args: argparse.Namespace) -> Devices:
    """The devices that the arguments ask for; to be called before anything else uses TensorFlow."""
    from wage_tf.distribution import cluster, devices

    if args.strategy == "mirrored":
        return devices.mirrored(args.logical_devices)
    if args.strategy is None:
        return devices.one_device()
    workers = cluster.from_environment()
    print(f"worker {workers.index} of {len(workers.addresses)} waits for the others", flush=True)
    return devices.multiworker(workers)


def train_on(devices: Devices, args: argparse.Namespace) -> None:
    """Trains on the given devices; of several workers, the chief writes and prints for all."""
    import models
    from wage_tf import training
    from wage_tf.distribution.agreement import check_same_arguments, on_every_worker, open_together
    from wage_tf.runs import RunDirectory

    config, dataset = on_every_worker(devices, lambda: configure(args))
    check_same_arguments(devices, config)
    model = training.prepare(config, dataset, models.build, devices)
    run = RunDirectory(args.run_dir or default_run_directory(config))
    state = open_together(devices, lambda: open_run(run, config, args))
    if devices.is_chief:
        done = 0 if state is None else len(state.rows)
        if done < config.epochs:
            print(summary(config, dataset, model, run, devices))
        else:
            print(f"{run.path} has all its {done} epochs")
    if training.is_known_to_be_unstable(config):
        show_warning(
            f"{config.bits} with beta {config.beta} is known to diverge: weights this wide are small against the "
            "update's grid; leave --beta out, or take G wider than W"
        )
    fit(run, config, dataset, model, state)


def configure(args: argparse.Namespace) -> tuple[RunConfig, Dataset]:
    """The data that the arguments name, and the configuration that they and its recipe give."""
    from wage_tf import datasets, recipes, training
    from wage_tf.runs import RunConfig

    dataset = datasets.load(args.dataset, args.data_dir, args.limit, args.image_size)
    recipe = recipes.get(args.dataset, dataset.input_shape)
    settings = {field.name: getattr(args, field.name) for field in dataclasses.fields(RunConfig)}
    if args.learning_rate is not None:
        settings["schedule"] = f"{args.learning_rate!r}@0"
    return training.configure(dataset, recipe, settings), dataset


def open_run(run: RunDirectory, config: RunConfig, args: argparse.Namespace) -> State | None:
    """Makes a new run's directory; with --resume, checks the one that is there and returns its latest state."""
    from wage_tf import checkpoints, files

    if args.overwrite:
        run.clear()
    state = None
    if args.resume and run.holds_a_run():
        run.check_resumable(config)
        state = checkpoints.load_latest(run.checkpoints, show_warning)
        if state is None or len(state.rows) <= config.epochs:
            run.write_config(config)
    else:
        run.create(config)
    run.checkpoints.mkdir(exist_ok=True)
    files.remove_unfinished(run.checkpoints)
    return state


def fit(run: RunDirectory, config: RunConfig, dataset: Dataset, model: object, state: State | None) -> None:
    """Trains to the end, which a complete state is at, and writes the model and the results."""
    import keras

    from wage_tf import training
    from wage_tf.callbacks import QuantizationHistograms, RunRecorder, StopOnNonFinite, StopOnSignal
    from wage_tf.distribution.trainer import devices_of

    is_chief = devices_of(model).is_chief
    steps = dataset.steps_per_epoch(config.batch_size)
    recorder = RunRecorder(run if is_chief else None, steps, config.checkpoint_steps, state)
    callbacks = [StopOnNonFinite()]
    if is_chief:
        callbacks.append(keras.callbacks.TensorBoard(run.tensorboard))
    if is_chief and config.histogram_freq:
        probe = dataset.probe_batch(min(config.batch_size, 128), training.recipe_of(config, dataset).augmentation)
        callbacks.append(QuantizationHistograms(run.tensorboard / "quantized", *probe, config.histogram_freq))
    with StopOnSignal(recorder) as stop:
        verbose = (1 if sys.stdout.isatty() else 2) if is_chief else 0
        training.fit(model, config, dataset, recorder, [*callbacks, stop], state, verbose)
    if is_chief:
        finish(run, config, model, recorder)


def finish(run: RunDirectory, config: RunConfig, model: object, recorder: RunRecorder) -> None:
    """Writes the model and the results of a complete training, where they are missing, and prints the closing line."""
    from wage_tf import files
    from wage_tf.distribution.trainer import single
    from wage_tf.runs import summarize

    results = run.read_results()
    if results is None or results["epochs"] != len(recorder.rows) or not run.model.is_file():
        with files.replacing(run.model) as path:
            single(model).save(path)
        results = summarize(config, recorder.rows, recorder.seconds)
        run.write_metrics(recorder.rows)
        run.write_results(results)
    print(closing_line(results))


def evaluate(path: str, data_dir: str | None = None) -> None:
    """Prints the test error of a finished run's model; `data_dir` takes the place of the run's own."""
    from wage_tf import datasets, training
    from wage_tf.commands import load_run
    from wage_tf.errors import UserError
    from wage_tf.metrics import ErrorRate

    config, model = load_run(path)
    dataset = datasets.load(config.dataset, data_dir or config.data_dir, config.limit, config.image_size)
    if not dataset.test_size:
        raise UserError(f"{config.dataset} has no test images to evaluate on")
    recipe = training.recipe_of(config, dataset)
    model.compile(loss=recipe.loss(), metrics=[ErrorRate()])
    batches = dataset.test_batches(config.batch_size, recipe.augmentation)
    error = model.evaluate(batches, verbose=0, return_dict=True)["error"]
    print(f"test error {error:.2f}% on {dataset.test_size} images of {config.dataset}")


def default_run_directory(config: RunConfig) -> Path:
    """runs/DATASET-MODEL-BITS-sSEED, with the width where it is not 1."""
    dataset = Path(config.dataset).name or "images"
    bits = config.bits if isinstance(config.bits, str) else "per-layer"
    width = "" if config.width == 1 else f"-x{config.width:g}"
    return Path("runs") / f"{dataset}-{config.model}{width}-{bits}-s{config.seed}"


def summary(config: RunConfig, dataset: Dataset, model: object, run: RunDirectory, devices: Devices) -> str:
    """What will run, for the terminal."""
    from wage_tf import costs

    shape = "x".join(str(side) for side in dataset.input_shape)
    steps = dataset.steps_per_epoch(config.batch_size)
    return "\n".join(
        [
            f"data      {config.dataset} {shape}, {dataset.train_size:,} training, {dataset.test_size:,} test images",
            f"network   {config.model}, width {config.width:g}, bits {config.bits} (W-A-G-E)",
            f"training  {config.epochs} epochs of {steps} steps of {config.batch_size} images, seed {config.seed}",
            f"eta       {config.schedule}",
            *([] if devices.strategy is None else [f"devices   {devices}"]),
            f"run       {run.path}",
            "",
            costs.format_table(costs.model_costs(model)),
            "",
        ]
    )


def closing_line(results: dict[str, object]) -> str:
    """The result of a run in one line."""
    epochs, seconds = results["epochs"], results["seconds"]
    if results["test_error"] is None:
        return f"training error {results['train_error']:.2f}% after {epochs} epochs, {seconds:.0f} s"
    return (
        f"test error {results['test_error']:.2f}% after {epochs} epochs, best {results['best_test_error']:.2f}% "
        f"at epoch {results['best_epoch']}, {seconds:.0f} s"
    )


@contextlib.contextmanager
def quiet_tensorflow(verbose: bool) -> Iterator[None]:
    """Keeps TensorFlow's start-up messages off the terminal: those of its log level, and those written before it."""
    if verbose:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    terminal = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def _number(text: str, kind: type, is_valid: object, what: str) -> int | float:
    with contextlib.suppress(ValueError):
        value = kind(text)
        if is_valid(value):
            return value
    raise argparse.ArgumentTypeError(f"{what} is wanted, received {text!r}")


def show_warning(message: str | Warning, *_: object, **__: object) -> None:
    """Prints a warning in one line on stderr; fits `warnings.showwarning`."""
    print(f"warning: {message}", file=sys.stderr)


def say_stopped(signum: int, program: str, words: Sequence[str]) -> int:
    """Prints what stopped a program and the command that goes on, and returns the exit code."""
    again = [word for word in words if word not in ("--resume", "--overwrite")]
    command = shlex.join(["python", program, *again, "--resume"])
    print(f"\nstopped by {signal.Signals(signum).name}; go on with: {command}")
    return 128 + signum


def _stopped(args: argparse.Namespace, signum: int, argv: Sequence[str] | None) -> int:
    if args.evaluate is None:
        return say_stopped(signum, "train.py", sys.argv[1:] if argv is None else argv)
    print(f"\nstopped by {signal.Signals(signum).name}")
    return 128 + signum


def _fail(message: str, code: int) -> int:
    print(f"train.py: error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
