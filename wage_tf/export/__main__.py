"""Exports a trained run: python -m wage_tf.export RUN_DIR --to litert|packed|c [--out PATH]."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence

from wage_tf.commands import OneLineParser, run_command
from wage_tf.export.run import export_run


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    parser = OneLineParser(prog="python -m wage_tf.export", description="Exports the model of a finished run.")
    parser.add_argument("run_dir", metavar="RUN_DIR", help="a directory that train.py wrote")
    parser.add_argument("--to", required=True, choices=("litert", "packed", "c"), help="what to make")
    parser.add_argument("--out", metavar="PATH", help="the file, for c the folder (default: beside RUN_DIR)")
    parser.add_argument("--accumulators", action="store_true", help="packed: keep the stored weights for training")
    with _sigterm_exits():
        return run_command(parser, _export, argv)


def _export(arguments: argparse.Namespace) -> int:
    print(export_run(arguments.run_dir, arguments.to, arguments.out, arguments.accumulators))
    return 0


@contextlib.contextmanager
def _sigterm_exits() -> Iterator[None]:
    """SIGTERM raises SystemExit(143), so that an export removes its temporary files."""
    previous = signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


if __name__ == "__main__":
    sys.exit(main())
