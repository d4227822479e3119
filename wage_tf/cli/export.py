"""wage-export and `python -m wage_tf.export`: exports the model of a finished run."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wage_tf.cli import exits, startup
from wage_tf.cli.parsers import OneLineParser, add_verbose

if TYPE_CHECKING:
    from wage_tf.runs.signals import Signals

_EPILOG = """\
examples:
  python -m wage_tf.export runs/digits-lenet5-2-8-8-8-s0 --to litert
  python -m wage_tf.export runs/digits-lenet5-2-8-8-8-s0 --to c --out firmware/wage
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    parser = OneLineParser(
        prog=exits.program("python -m wage_tf.export"),
        description="Exports the model of a finished run.",
        epilog=_EPILOG,
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", help="a directory that train.py wrote")
    parser.add_argument("--to", required=True, choices=("litert", "packed", "c"), help="what to make")
    parser.add_argument("--out", metavar="PATH", help="the file, for c the folder (default: beside RUN_DIR)")
    parser.add_argument("--accumulators", action="store_true", help="packed: keep the stored weights for training")
    add_verbose(parser)
    args = parser.parse_args(argv)
    return exits.run(parser.prog, functools.partial(_run, args))


def _run(args: argparse.Namespace, signals: Signals) -> int:
    with startup.importing_tensorflow(args.verbose):
        from wage_tf.export.model import FORMS, export_model
        from wage_tf.runs.directory import RunDirectory
    signals.check()
    run = RunDirectory(args.run_dir)
    config, model = run.read_config(), run.load_model()
    source = run.path.resolve()
    path = source.with_name(source.name + FORMS[args.to][0]) if args.out is None else Path(args.out)
    name = f"{config.model} on {Path(config.dataset).name}"
    labels = config.data.classes if config.data is not None else ()
    print(export_model(model, path, args.to, name=name, labels=labels, accumulators=args.accumulators))
    return 0


if __name__ == "__main__":
    sys.exit(main())
