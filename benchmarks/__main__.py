"""Runs the benchmarks of the results page and records them for this machine: `python -m benchmarks [RECORDS ...]`.

Without names, those that this machine has no record of. The rows are those of `experiments/page/benchmarks.toml`. Leave
the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import functools
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Sequence

from experiments import provenance, results, spec, tables
from wage_tf.cli import exits
from wage_tf.cli.parsers import OneLineParser
from wage_tf.errors import UserError
from wage_tf.runs.signals import Signals


def commands() -> dict[str, str]:
    """The command of every record of the page, by the record's name."""
    rows = tomllib.loads((spec.FOLDER / "page" / "benchmarks.toml").read_text())
    return {row["records"]: row["command"] for table in rows.values() for row in table}


def machine() -> str:
    """This machine's part of a record's file name."""
    return re.sub(r"\W+", "-", tables.hardware(provenance.hardware()).lower())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; exit code 1 if a benchmark failed, 2 for wrong input."""
    parser = OneLineParser(prog="benchmarks", description=__doc__)
    parser.add_argument("records", nargs="*", metavar="RECORDS", help=f"any of {', '.join(commands())}")
    return exits.run(parser.prog, functools.partial(_run, parser.parse_args(argv)))


def _run(args: argparse.Namespace, signals: Signals) -> int:
    known = commands()
    unknown = [name for name in args.records if name not in known]
    if unknown:
        raise UserError(f"there is no benchmark {unknown[0]!r}: choose from {', '.join(known)}")
    failed = 0
    for name in args.records or known:
        path = results.FOLDER / "benchmarks" / f"{name}@{machine()}.json"
        if path.exists() and not args.records:
            continue
        print(f"{name}: {known[name]}", flush=True)
        words = [sys.executable, *shlex.split(known[name])[1:], "--json", str(path)]
        with subprocess.Popen(words, cwd=provenance.ROOT) as benchmark:
            signals.communicate(benchmark)
        failed += benchmark.returncode != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
