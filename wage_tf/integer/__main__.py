"""Compares a trained run with its integer graph: python -m wage_tf.integer verify RUN_DIR."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from wage_tf.commands import OneLineParser, load_run, positive_int, run_command

_BATCH = 250
_DIFFERENT = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; exit code 0 if all is integers and equal, 1 if not, 2 for wrong input."""
    parser = OneLineParser(prog="python -m wage_tf.integer", description="The network in integer arithmetic only.")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="compare a run's model with its integer graph, code for code")
    verify.add_argument("run_dir", metavar="RUN_DIR", help="a directory that train.py wrote")
    verify.add_argument(
        "--images",
        type=positive_int,
        metavar="N",
        help="the first N test images (default: all; without a test set 250 for training)",
    )
    verify.add_argument("--steps", type=positive_int, default=10, metavar="N", help="training steps (default 10)")
    verify.add_argument("--batch-size", type=positive_int, metavar="N", help="images per step (default: the run's)")
    return run_command(parser, _verify, argv)


def _verify(arguments: argparse.Namespace) -> int:
    from wage_tf import datasets, recipes, training
    from wage_tf.integer.verify import Comparison, float_layers
    from wage_tf.losses import SumSquaredError

    config, model = load_run(arguments.run_dir)
    left = float_layers(model)
    if any({"weights", "activations"} & set(operands) for operands in left.values()):
        print("\n".join(f"{layer}: {' and '.join(operands)}" for layer, operands in left.items()))
        print("verdict: NOT INTEGERS: the operands above are float32, so there is no integer graph")
        return _DIFFERENT
    comparison = Comparison(model)
    dataset = datasets.load(config.dataset, config.data_dir, config.limit, config.image_size)
    recipe = training.recipe_of(config, dataset)
    if not isinstance(recipe.loss(), SumSquaredError):
        comparison.floats.append("the loss: softmax cross-entropy")
    if dataset.test_size:
        test = dataset.test_batches(_BATCH, recipe.augmentation)
        comparison.infer(_first(test, arguments.images or dataset.test_size))
    else:
        count = min(arguments.images or _BATCH, dataset.train_size)
        comparison.infer([dataset.probe_batch(count, recipe.augmentation)])
    if not comparison.floats:
        size = arguments.batch_size or config.batch_size
        train = dataset.train_batches(size, config.seed, recipe.augmentation)
        eta = recipes.parse_schedule(config.schedule)[0][1]
        comparison.train(itertools.islice(train, arguments.steps), eta, config.seed)
    print(comparison)
    return 0 if comparison.equal and not comparison.floats else _DIFFERENT


def _first(batches: object, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for images, targets in batches:
        if count <= 0:
            return
        yield np.asarray(images)[:count], np.asarray(targets)[:count]
        count -= len(images)


if __name__ == "__main__":
    sys.exit(main())
