"""train.py and wage-train: trains a network in low-bit integers."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wage_tf.cli import exits, startup
from wage_tf.cli.training_arguments import parser

if TYPE_CHECKING:
    from wage_tf.runs.signals import Signals

_OF_BUILDERS = ("model", "width", "beta", "factor", "clip_bits", "clip_outputs", "gamma", "bits_from")
_OF_EVALUATION = {"evaluate", "dataset", "data_dir", "image_size", "verbose"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    arguments = parser()
    args = arguments.parse_args(argv)
    if args.pattern and args.bits_from is None:
        arguments.error("--pattern needs --bits-from RUN_DIR")
    if args.weights and args.source is None:
        arguments.error("--weights needs --from MODEL.keras")
    for name in _OF_BUILDERS:
        if args.source is not None and getattr(args, name) is not None:
            arguments.error(f"--{name.replace('_', '-')} does not go with --from: the network is the file's")
    if args.logical_devices and args.strategy != "mirrored":
        arguments.error("--logical-devices needs --strategy mirrored")
    if args.evaluate is not None:
        for name in sorted(_given(args, arguments) - _OF_EVALUATION):
            flag = "from" if name == "source" else name.replace("_", "-")
            arguments.error(f"--{flag} does not go with --evaluate: the run says it")
    resume = exits.again(arguments.prog, argv) if args.evaluate is None else None
    return exits.run(arguments.prog, functools.partial(_run, args), resume)


def _given(args: argparse.Namespace, arguments: argparse.ArgumentParser) -> set[str]:
    """Names of the arguments that have not their defaults."""
    return {name for name, value in vars(args).items() if value != arguments.get_default(name)}


def _run(args: argparse.Namespace, signals: Signals) -> int:
    with startup.importing_tensorflow(args.verbose):
        from wage_tf.cli import training
    if args.evaluate is not None:
        training.evaluate(args)
    else:
        training.train(args, signals)
    return 0


if __name__ == "__main__":
    sys.exit(main())
