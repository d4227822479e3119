"""wage-verify and `python -m wage_tf.integer verify`: compares a trained model with its integer graph."""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wage_tf.cli import exits, startup
from wage_tf.cli.parsers import OneLineParser, add_data, add_verbose, positive_int, text

if TYPE_CHECKING:
    from wage_tf.runs.signals import Signals

_DESCRIPTION = "Compares a model with its integer graph, code for code."
_BATCH = 250
_DIFFERENT = 1


def main(argv: Sequence[str] | None = None) -> int:
    """wage-verify: exit code 0 if all is integers and equal, 1 if not, 2 for wrong input."""
    parser = OneLineParser(prog="wage-verify", description=_DESCRIPTION)
    _add_arguments(parser)
    args = parser.parse_args(argv)
    return exits.run(parser.prog, functools.partial(_run, args))


def main_of_module(argv: Sequence[str] | None = None) -> int:
    """`python -m wage_tf.integer verify`, with the same arguments and exit codes."""
    parser = OneLineParser(prog="python -m wage_tf.integer", description="The network in integer arithmetic only.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_arguments(commands.add_parser("verify", help=_DESCRIPTION, description=_DESCRIPTION))
    args = parser.parse_args(argv)
    return exits.run(parser.prog, functools.partial(_run, args))


def _add_arguments(verify: argparse.ArgumentParser) -> None:
    verify.add_argument("source", type=text, metavar="RUN_DIR|MODEL", help="the directory of a run, or a .keras file")
    data = verify.add_argument_group("data", "default: the run's; a .keras file needs --dataset")
    add_data(data)
    data.add_argument(
        "--images",
        type=positive_int,
        metavar="N",
        help="the first N test images (default: all; without a test set 250 for training)",
    )
    training = verify.add_argument_group("training")
    training.add_argument("--steps", type=positive_int, default=10, metavar="N", help="training steps (default 10)")
    training.add_argument("--batch-size", type=positive_int, metavar="N", help="images per step (default: the run's)")
    add_verbose(verify)


def _run(args: argparse.Namespace, signals: Signals) -> int:
    with startup.importing_tensorflow(args.verbose):
        from wage_tf.cli import sources
        from wage_tf.cli.progress import with_bar
        from wage_tf.integer.comparison import Comparison
        from wage_tf.integer.verify import float_layers
    config, model = sources.load(args.source)
    left = float_layers(model)
    if any({"weights", "activations"} & set(operands) for operands in left.values()):
        print("\n".join(f"{layer}: {' and '.join(operands)}" for layer, operands in left.items()))
        print("verdict: NOT INTEGERS: the operands above are float32, so there is no integer graph")
        return _DIFFERENT
    comparison = Comparison(model)
    config, dataset = sources.data_of(config, model, args.dataset, args.data_dir, args.image_size)
    if config.loss != "sum_squared_error":
        comparison.floats.append(f"the loss: {config.loss}")
    if dataset.test_size:
        test = dataset.test_batches(_BATCH, config.augmentation)
        count = min(args.images or dataset.test_size, dataset.test_size)
        comparison.infer(with_bar(_first(test, count), -(-count // _BATCH)))
    else:
        count = min(args.images or _BATCH, dataset.train_size)
        comparison.infer([dataset.probe_batch(count, config.augmentation)])
    if not comparison.floats:
        train = dataset.train_batches(args.batch_size or config.batch_size, config.seed, config.augmentation)
        steps = with_bar(itertools.islice(train, args.steps), args.steps)
        comparison.train(steps, config.schedule[0][1], config.seed)
    print(comparison)
    return 0 if comparison.equal and not comparison.floats else _DIFFERENT


def _first(batches: Iterable, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for images, targets in batches:
        if count <= 0:
            return
        yield np.asarray(images)[:count], np.asarray(targets)[:count]
        count -= len(images)


if __name__ == "__main__":
    sys.exit(main())
