#!/usr/bin/env python3
"""Searches for the bit widths a network needs: `python tuner.py --dataset mnist --weights 1,2,4 --activations 4,8`."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from train import (
    OneLineParser,
    natural,
    positive_float,
    positive_int,
    quiet_tensorflow,
    say_stopped,
    show_warning,
    width_multiplier,
)

if TYPE_CHECKING:
    from wage_tf.datasets import Dataset
    from wage_tf.search.directory import SearchConfig
    from wage_tf.search.session import Outcome, Session
    from wage_tf.search.trials import Study

_USER_ERROR = 2
_NOTHING_FOUND = 1
_EPOCHS_SHARE = 10

_EPILOG = """\
examples:
  python tuner.py --weights 1,2,4 --activations 4,8 --epochs 3              six trials on scikit-learn's digits
  python tuner.py --dataset mnist --gradients 2,3,4,5,6,7,8,9,10,11,12      the paper's sweep over kG
  python tuner.py --dataset mnist --weights 2,4,8 --activations 2,4,8 --per-layer weights,activations
      --oracle bayesian --max-trials 40 --max-error 1.5                     the cheapest pattern within 1.5%
  python train.py --bits-from runs/search-.../best.json                     trains the found pattern in full

exit codes: 0 done, 1 nothing could be trained or keeps the constraint, 2 wrong input, 130/143 stopped by SIGINT/SIGTERM
"""


def parser() -> argparse.ArgumentParser:
    """The command line of tuner.py."""
    result = OneLineParser(
        prog="tuner.py",
        description="Searches for the W-A-G-E pattern, of the whole network or layer by layer, that gives the lowest "
        "validation error for its cost. The test set is touched once, at the end, for the patterns on the front.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = result.add_argument_group("data and network")
    data.add_argument("--dataset", default="digits", metavar="NAME|PATH", help="as for train.py (default digits)")
    data.add_argument("--data-dir", metavar="DIR", help="directory of TensorFlow Datasets (default: TFDS_DATA_DIR)")
    data.add_argument("--image-size", type=positive_int, metavar="N", help="as for train.py")
    data.add_argument("--limit", type=positive_int, metavar="N", help="train on the first N training images only")
    data.add_argument(
        "--validation",
        type=positive_int,
        metavar="N",
        help="training images held out to compare patterns by, the last ones (default: a fifth, at most 10000)",
    )
    data.add_argument("--model", metavar="NAME", help="lenet5, vgg7, alexnet or mlp (default: the recipe's)")
    data.add_argument("--width", type=width_multiplier, default=1.0, metavar="X", help="multiplier of the hidden units")
    space = result.add_argument_group("candidates: lists of widths, f for float32")
    for operand, default in (("weights", "2"), ("activations", "8"), ("gradients", "8"), ("errors", "8")):
        space.add_argument(f"--{operand}", default=default, metavar="K,...", help=f"default {default}")
    space.add_argument(
        "--per-layer", default="", metavar="OPERAND,...", help="weights, activations, errors: may differ between layers"
    )
    space.add_argument(
        "--learning-rates",
        default="",
        metavar="ETA,...",
        help="eta at kG = 8, a dimension of its own; it is scaled by 2^(kG-8) (default: the recipe's)",
    )
    search = result.add_argument_group("search")
    search.add_argument("--oracle", choices=("grid", "random", "bayesian", "hyperband"), default="grid")
    search.add_argument(
        "--max-trials",
        type=positive_int,
        metavar="N",
        help="default: all (grid), 20 (random, bayesian), one round of its brackets (hyperband)",
    )
    search.add_argument(
        "--epochs", type=positive_int, metavar="N", help="epochs of a trial (default: a tenth of the recipe's)"
    )
    search.add_argument(
        "--executions", type=positive_int, default=1, metavar="N", help="trainings per trial, averaged (default 1)"
    )
    search.add_argument("--seed", type=natural, default=0, metavar="N", help="decides the whole search (default 0)")
    score = result.add_argument_group("score")
    score.add_argument("--cost", choices=("energy", "memory", "area"), default="energy")
    score.add_argument("--cost-of", choices=("inference", "training"), default="inference")
    goal = score.add_mutually_exclusive_group()
    goal.add_argument(
        "--cost-weight",
        type=positive_float,
        default=1.0,
        metavar="X",
        help="points of error that the cost of 8-8-8-8 is worth (default 1)",
    )
    goal.add_argument("--max-cost", type=positive_float, metavar="X", help="lowest error at X times 8-8-8-8's cost")
    goal.add_argument("--max-error", type=_percent, metavar="X", help="lowest cost at a validation error of X percent")
    run = result.add_argument_group("run")
    run.add_argument("--run-dir", metavar="DIR", help="where the search is kept (default: runs/search- and settings)")
    run.add_argument("--resume", action="store_true", help="go on with the search in the run directory")
    run.add_argument("--workers", type=positive_int, metavar="N", help="a chief and N worker processes, sharing cores")
    run.add_argument("--keep", choices=("front", "all"), default="front", help="whose trained models stay on the disk")
    run.add_argument(
        "--histogram-freq",
        type=natural,
        default=0,
        metavar="N",
        help="TensorBoard histograms of W, A, E, G of every trial every N epochs (default 0: none)",
    )
    run.add_argument("--verbose", action="store_true", help="show TensorFlow's own messages")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    args = parser().parse_args(argv)
    try:
        return _run(args, argv)
    except KeyboardInterrupt as stop:
        return say_stopped(getattr(stop, "signum", signal.SIGINT), "tuner.py", argv)


def _run(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """Searches, and gives every way to end but an interruption its line and its exit code."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    with quiet_tensorflow(args.verbose):
        from wage_tf.errors import UserError
        from wage_tf.search.processes import ChiefLost, WorkersFailed, stopping_on_signals
        from wage_tf.search.session import NothingTrained
    if not args.verbose:
        for library in ("absl", "tensorflow"):
            logging.getLogger(library).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), stopping_on_signals():
            warnings.showwarning = show_warning
            return _search(args, argv)
    except UserError as error:
        return _fail(str(error), _USER_ERROR)
    except (NothingTrained, WorkersFailed, ChiefLost) as error:
        return _fail(str(error), _NOTHING_FOUND)
    except OSError as error:
        return _fail(f"{error.filename or 'a file'}: {error.strerror or error}", _USER_ERROR)


def _search(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """Runs this process' part of the search."""
    import models
    from wage_tf import datasets
    from wage_tf.search import oracles, processes, session
    from wage_tf.search.directory import SearchDirectory
    from wage_tf.search.trials import Study

    role, address, port = processes.role()
    if role == "worker":
        processes.end_with_parent(_complain)
    started = time.monotonic()
    dataset = datasets.load(args.dataset, args.data_dir, None, args.image_size)
    config = configure(args, dataset)
    study = Study(config, dataset, models.build)
    oracles.check_space(config, study.candidates)
    directory = SearchDirectory(args.run_dir or default_run_directory(config))
    if role == "worker":
        session.run_worker(study, directory, lambda line: print(line, flush=True), _complain, address, port)
        return 0
    if args.resume and directory.holds_a_search():
        directory.check_same_search(config)
    else:
        directory.create(config)
    current = session.Session(study, directory, lambda line: print(line, flush=True))
    print(summary(current, study, dataset), flush=True)
    if role == "chief" or args.workers:
        command = [sys.executable, os.path.abspath(__file__), *argv]
        current.run_chief(address, port, command, args.workers or 0)
    else:
        current.run_alone()
    outcome = current.finish(f"python tuner.py {shlex.join(argv)}", time.monotonic() - started)
    print(closing_lines(outcome, directory.path))
    if not outcome.keeps_constraint:
        return _fail(f"no pattern keeps --max-error {config.max_error:g}; the closest is above", _NOTHING_FOUND)
    return 0


def configure(args: argparse.Namespace, dataset: Dataset) -> SearchConfig:
    """Fills in what the arguments leave to the recipe and the data."""
    from wage_tf import recipes
    from wage_tf.search import candidates
    from wage_tf.search.directory import SearchConfig
    from wage_tf.search.trials import validation_size

    recipe = recipes.get(args.dataset, dataset.input_shape)
    return SearchConfig(
        dataset=args.dataset,
        data_dir=args.data_dir,
        image_size=args.image_size,
        limit=args.limit,
        validation=args.validation or validation_size(dataset),
        model=args.model or recipe.model,
        width=args.width,
        widths={name: candidates.parse_widths(name, getattr(args, name)) for name in candidates.OPERANDS},
        per_layer=candidates.parse_operands(args.per_layer),
        learning_rates=candidates.parse_rates(args.learning_rates),
        oracle=args.oracle,
        max_trials=args.max_trials,
        epochs=args.epochs or max(1, recipe.epochs // _EPOCHS_SHARE),
        executions=args.executions,
        seed=args.seed,
        cost=args.cost,
        cost_of=args.cost_of,
        cost_weight=args.cost_weight,
        max_cost=args.max_cost,
        max_error=args.max_error,
        keep=args.keep,
        histogram_freq=args.histogram_freq,
    )


def default_run_directory(config: SearchConfig) -> Path:
    """runs/search-DATASET-MODEL-ORACLE-sSEED."""
    dataset = Path(config.dataset).name or "images"
    return Path("runs") / f"search-{dataset}-{config.model}-{config.oracle}-s{config.seed}"


def summary(session: Session, study: Study, dataset: Dataset) -> str:
    """What will run, for the terminal."""
    config, split = study.config, study.split
    widths = "  ".join(f"{operand} {','.join(found)}" for operand, found in config.widths.items())
    layers = f", per layer: {', '.join(config.per_layer)}" if config.per_layer else ""
    return "\n".join(
        [
            f"data        {config.dataset}, {split.train_size:,} training, {split.test_size:,} validation and "
            f"{dataset.test_size:,} test images",
            f"network     {config.model}, width {config.width:g}",
            f"candidates  {widths}{layers}: {study.candidates.size:,} patterns",
            f"search      {config.oracle}, {session.planned:,} trials of {config.epochs} epochs x {config.executions}, "
            f"seed {config.seed}",
            f"score       {study.scoring.formula}",
            f"run         {session.directory.path}",
            "",
        ]
    )


def closing_lines(outcome: Outcome, path: Path) -> str:
    """The front and the best pattern, for the terminal."""
    return "\n".join(
        [
            "",
            outcome.table,
            "",
            f"best score (*): {outcome.best.pattern}; train it in full with: "
            f"python train.py --bits-from {shlex.quote(str(path / 'best.json'))}",
        ]
    )


def _percent(text: str) -> float:
    value = positive_float(text)
    if value >= 100:
        raise argparse.ArgumentTypeError(f"a percentage below 100 is wanted, received {text!r}")
    return value


def _fail(message: str, code: int) -> int:
    _complain(message)
    return code


def _complain(message: str) -> None:
    print(f"tuner.py: error: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
