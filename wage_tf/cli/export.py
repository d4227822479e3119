"""wage-export and `python -m wage_tf.export`: exports a trained model."""

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
  python -m wage_tf.export my_network.keras --to packed
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    parser = OneLineParser(
        prog=exits.program("python -m wage_tf.export"),
        description="Exports a trained model.",
        epilog=_EPILOG,
    )
    parser.add_argument("source", metavar="RUN_DIR|MODEL", help="a directory that train.py wrote, or a .keras file")
    parser.add_argument("--to", required=True, choices=("litert", "packed", "c"), help="what to make")
    parser.add_argument("--out", metavar="PATH", help="the file, for c the folder (default: beside the source)")
    parser.add_argument("--accumulators", action="store_true", help="packed: keep the stored weights for training")
    add_verbose(parser)
    args = parser.parse_args(argv)
    return exits.run(parser.prog, functools.partial(_run, args))


def _run(args: argparse.Namespace, signals: Signals) -> int:
    with startup.importing_tensorflow(args.verbose):
        from wage_tf.cli import sources
        from wage_tf.export.model import FORMS, export_model
    config, model = sources.load(args.source)
    source = Path(args.source).resolve()
    stem = source.name if config is not None else source.stem
    path = source.with_name(stem + FORMS[args.to][0]) if args.out is None else Path(args.out)
    name = model.name if config is None else f"{config.model} on {Path(config.dataset).name}"
    labels = () if config is None or config.data is None else config.data.classes
    print(export_model(model, path, args.to, name=name, labels=labels, accumulators=args.accumulators))
    return 0


if __name__ == "__main__":
    sys.exit(main())
