"""Writes the figures of a benchmark where `--json PATH` says, with command, commit, hardware and versions."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from experiments import provenance
from wage_tf import files
from wage_tf.cli.parsers import OneLineParser

_FLAG = "--json"
_LOAD = os.getloadavg()[0]


def parser(benchmark: str, description: str) -> argparse.ArgumentParser:
    """The command line of a benchmark, by its module's name and docstring, with the argument `--json PATH`."""
    result = OneLineParser(prog=f"python -m benchmarks.{benchmark}", description=description)
    result.add_argument(_FLAG, type=Path, metavar="PATH", help="also write the figures, with commit and hardware")
    return result


def write(path: Path | None, benchmark: str, figures: Mapping[str, object]) -> None:
    """Writes a record, or nothing without a path; `load` is the machine's load average before the benchmark.

    Args:
        path: From `--json`.
        benchmark: Name of the benchmark's module.
        figures: What was measured; the report's rows name these keys.
    """
    if path is None:
        return
    flag = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    flag.add_argument(_FLAG)
    words = ["python", "-m", f"benchmarks.{benchmark}", *flag.parse_known_args()[1]]
    head = {"benchmark": benchmark, **provenance.head(shlex.join(words)), "load": round(_LOAD, 1)}
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, {**head, "figures": figures})
