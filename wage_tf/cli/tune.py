"""tuner.py and wage-tune: searches for the bit widths a network needs."""

from __future__ import annotations

import argparse
import functools
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wage_tf.cli import exits, startup
from wage_tf.cli.parsers import (
    CLASSIFIERS,
    OneLineParser,
    add_data,
    add_limit,
    add_verbose,
    natural,
    percentage,
    positive_float,
    positive_int,
    schedule,
    text,
    width_multiplier,
)

if TYPE_CHECKING:
    from wage_tf.datasets import Dataset
    from wage_tf.runs.signals import Signals
    from wage_tf.search.directory import SearchConfig
    from wage_tf.search.session import Outcome, Session
    from wage_tf.search.trials import Study

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
        prog=exits.program("tuner.py"),
        description="Searches for the W-A-G-E pattern, of the whole network or layer by layer, that gives the lowest "
        "validation error for its cost. The test set is touched once, at the end, for the patterns on the front.",
        epilog=exits.as_started(_EPILOG),
    )
    data = result.add_argument_group("data and network")
    add_data(data, "as in training (default digits)", "digits")
    add_limit(data)
    data.add_argument(
        "--validation",
        type=positive_int,
        metavar="N",
        help="training images held out to compare patterns by, the last ones (default: a fifth, at most 10000)",
    )
    data.add_argument(
        "--model",
        type=text,
        metavar="NAME",
        help=f"{CLASSIFIERS} (default: by the data)",
    )
    data.add_argument("--width", type=width_multiplier, default=1.0, metavar="X", help="multiplier of the hidden units")
    space = result.add_argument_group("candidates: lists of widths, f for float32")
    for operand, default in (("weights", "2"), ("activations", "8"), ("gradients", "8"), ("errors", "8")):
        space.add_argument(f"--{operand}", default=default, metavar="K,...", help=f"default {default}")
    space.add_argument(
        "--per-layer", default="", metavar="OPERAND,...", help="weights, activations, errors: may differ between layers"
    )
    rate = space.add_mutually_exclusive_group()
    rate.add_argument(
        "--learning-rates",
        default="",
        metavar="ETA,...",
        help="eta at kG = 8, a dimension of its own; it is scaled by 2^(kG-8) (default: the recipe's)",
    )
    rate.add_argument(
        "--schedule",
        type=schedule,
        metavar="ETA@EPOCH,...",
        help='etas of a trial at kG = 8, such as "8@0,1@7" for 10 epochs; a full training keeps the recipe\'s',
    )
    search = result.add_argument_group("search")
    search.add_argument("--oracle", default="grid", help="grid (default), random, bayesian or hyperband")
    search.add_argument(
        "--max-trials",
        type=positive_int,
        metavar="N",
        help="default: all (grid), 20 (random, bayesian), one round of its brackets (hyperband)",
    )
    search.add_argument("--engine", choices=("keras", "integer"), default="keras", help="as in training")
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
    goal.add_argument(
        "--max-error", type=percentage, metavar="X", help="lowest cost at a validation error of X percent"
    )
    run = result.add_argument_group("run")
    run.add_argument(
        "--run-dir",
        type=text,
        metavar="DIR",
        help="where the search is kept (default: runs/search- and settings)",
    )
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
    add_verbose(run)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    arguments = parser()
    args = arguments.parse_args(argv)
    argv = list(sys.argv[1:] if argv is None else argv)
    return exits.run(
        arguments.prog, functools.partial(_run, args, arguments.prog, argv), exits.again(arguments.prog, argv)
    )


def _run(args: argparse.Namespace, program: str, argv: Sequence[str], signals: Signals) -> int:
    """Runs this process' part of the search."""
    from wage_tf.search import heartbeat

    report_error = functools.partial(exits.fail, program)
    heartbeat.beat(report_error)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    with startup.importing_tensorflow(args.verbose):
        from wage_tf import datasets, files
        from wage_tf.cli.progress import WIPE, TrialProgress
        from wage_tf.search import oracles, processes, secret, session
        from wage_tf.search.directory import SearchDirectory
        from wage_tf.search.trials import Study
    role, address, port = processes.role()
    shared = secret.new() if role == "alone" else secret.from_environment()
    started = time.monotonic()
    dataset = datasets.load(args.dataset, args.data_dir, None, args.image_size)
    config = configuration_of(args, dataset)
    directory = SearchDirectory(args.run_dir or default_run_directory(config))
    goes_on = directory.holds_a_search() and (args.resume or role == "worker")
    if goes_on:
        config = config.continuing(directory.read_config(), args.model is not None, args.epochs is not None)
    shows_bar = sys.stdout.isatty() and role == "alone" and not args.workers
    study = Study(config, dataset, [TrialProgress()] if shows_bar else [])
    oracles.check_space(config, study.candidates)
    print_line = functools.partial(print, *[WIPE] if shows_bar else [], sep="", flush=True)
    if role == "worker":
        session.run_worker(study, directory, print_line, report_error, address, port, shared)
        return 0
    with files.locked(directory.path):
        if goes_on:
            directory.check_same_search(config)
        else:
            directory.create(config)
        current = session.Session(study, directory, print_line)
        print_line(summary(current, study, dataset))
        if role == "chief" or args.workers:
            command = [sys.executable, "-m", "wage_tf.cli.tune", *argv]
            with signals.deferred():
                current.run_chief(address, port, shared, command, args.workers or 0, signals.check)
        else:
            current.run_alone()
        outcome = current.finish(shlex.join(exits.again(program, argv)[:-1]), time.monotonic() - started)
    print_line(closing_lines(outcome, directory.path))
    if not outcome.keeps_constraint:
        report_error(f"no pattern keeps --max-error {config.max_error:g}; the closest is above")
        return _NOTHING_FOUND
    return 0


def configuration_of(args: argparse.Namespace, dataset: Dataset) -> SearchConfig:
    """Fills in what the arguments leave to the recipe and the data.

    Raises:
        UserError: If an argument is no list of widths, operands or rates, or out of range.
    """
    import pydantic

    from wage_tf import recipes
    from wage_tf.errors import UserError
    from wage_tf.runs import documents
    from wage_tf.runs.config import Data
    from wage_tf.search import candidates
    from wage_tf.search.directory import SearchConfig
    from wage_tf.search.trials import validation_size

    recipe = recipes.get(args.dataset, dataset.input_shape)
    resolved = {
        "validation": args.validation or validation_size(dataset),
        "data": Data.of(dataset),
        "recipe": recipe,
        "model": args.model or recipe.model,
        "widths": {name: candidates.parse_widths(name, getattr(args, name)) for name in candidates.OPERANDS},
        "per_layer": candidates.parse_operands(args.per_layer),
        "learning_rates": candidates.parse_rates(args.learning_rates),
        "epochs": args.epochs or max(1, recipe.epochs // _EPOCHS_SHARE),
    }
    given = {name: value for name, value in vars(args).items() if name in SearchConfig.model_fields}
    try:
        return SearchConfig(**{**given, **resolved})
    except pydantic.ValidationError as error:
        raise UserError(documents.describe(error)) from error


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
            f"{exits.as_started('python train.py')} --bits-from {shlex.quote(str(path / 'best.json'))}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
