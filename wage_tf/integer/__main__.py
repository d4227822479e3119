"""Compares a trained run with its integer graph: python -m wage_tf.integer verify RUN_DIR."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wage_tf.commands import OneLineParser, load_run, positive_int, run_command

if TYPE_CHECKING:
    from wage_tf.integer.verify import Comparison, Row

_BATCH = 250
_DIFFERENT = 1
_HEADER = ("layer", "operand", "bits", "codes met", "sums", "equal")


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
    from wage_tf.integer.graph import float_operands
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
    floats = float_operands(comparison.graph)
    if not isinstance(recipe.loss(), SumSquaredError):
        floats.append("the loss: softmax cross-entropy")
    if dataset.test_size:
        test = dataset.test_batches(_BATCH, recipe.augmentation)
        comparison.infer(_first(test, arguments.images or dataset.test_size))
    else:
        count = min(arguments.images or _BATCH, dataset.train_size)
        comparison.infer([dataset.probe_batch(count, recipe.augmentation)])
    if not floats:
        size = arguments.batch_size or config.batch_size
        train = dataset.train_batches(size, config.seed, recipe.augmentation)
        eta = recipes.parse_schedule(config.schedule)[0][1]
        comparison.train(itertools.islice(train, arguments.steps), eta, config.seed)
        report = _training_lines(comparison)
    else:
        report = ["training is not integers:", *floats]
    print(_table(comparison))
    print(f"\ninference: {comparison.images} images, every code of every layer")
    print("\n".join([*report, *_inexact_lines(comparison)]))
    print(f"verdict: {_verdict(comparison, floats)}")
    return 0 if comparison.equal and not floats else _DIFFERENT


def _first(batches: object, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for images, targets in batches:
        if count <= 0:
            return
        yield np.asarray(images)[:count], np.asarray(targets)[:count]
        count -= len(images)


def _table(comparison: Comparison) -> str:
    names = [node.name for node in comparison.graph.nodes]
    order = ("W", "A", "sum", "E", "G", "stored", "bias G", "bias stored")
    rows = sorted(comparison.rows.values(), key=lambda row: (names.index(row.layer), order.index(row.operand)))
    lines = [_HEADER, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = "<<>>><"
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)).rstrip()
        for line in lines
    )


def _cells(row: Row) -> tuple[str, ...]:
    sums = f"{row.sums.bit_length() + 1} bits{'' if row.sums_equal else ' NO'}" if row.sums else ""
    equal = "yes" if row.codes_equal else "NO"
    return (row.layer, row.operand, str(row.width), f"{row.low}..{row.high}", sums, equal)


def _training_lines(comparison: Comparison) -> list[str]:
    steps = comparison.steps
    sizes = " to ".join(str(size) for size in sorted({min(steps.sizes), max(steps.sizes)}))
    lines = [
        f"training: {steps.done} steps of {sizes} images, "
        f"{steps.done - steps.differing} of them with equal stored weights at the end"
    ]
    if not any(entry.past for (_, sums), entry in comparison.exactness.items() if sums == "gradient"):
        lines.append("  no gradient sum could pass 2^24, where float32 stops being exact")
    return lines


def _inexact_lines(comparison: Comparison) -> list[str]:
    """A line for each kind of sums that float32 can get wrong, with the layers."""
    layers: dict[str, list[str]] = {}
    for (layer, sums), entry in comparison.exactness.items():
        if entry.past:
            count = f"{layer} in {entry.past} of {entry.batches} batches (Keras' differed in {entry.differed})"
            layers.setdefault(sums, []).append(count)
    return [
        f"  {sums} sums could pass 2^24, where float32 stops being exact: {', '.join(counts)}"
        for sums, counts in layers.items()
    ]


def _verdict(comparison: Comparison, floats: list[str]) -> str:
    if comparison.equal:
        return "EQUAL in inference; training is NOT INTEGERS" if floats else "EQUAL: these are integers, bit for bit"
    names = ", ".join(sorted({row.layer for row in comparison.rows.values() if not row.equal}))
    if not comparison.explained:
        return f"NOT EQUAL: {names}"
    inexact: dict[str, list[str]] = {}
    for (layer, sums), entry in comparison.exactness.items():
        if entry.past and entry.differed:
            inexact.setdefault(layer, []).append(sums)
    where = "; ".join(f"{layer} ({', '.join(sums)})" for layer, sums in inexact.items())
    return f"NOT EQUAL: {names}: Keras' float32 sums left the exact range, the integers did not: {where}"


if __name__ == "__main__":
    sys.exit(main())
