"""Writes docs/results.md, docs/benchmarks.md and their pictures from the records alone: `python -m experiments.report`.

The pages' frames are in `experiments/page`, the prose of a section is its experiment's note; what has no record is
shown as not run yet.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from experiments import figures, results, spec, tables
from experiments.provenance import ROOT
from experiments.spec import Experiment
from experiments.summaries import NOT_RUN, Outcome, outcomes
from wage_tf import files
from wage_tf.cli import exits
from wage_tf.cli.parsers import OneLineParser
from wage_tf.errors import UserError
from wage_tf.runs.signals import Signals

DOCS = ROOT / "docs"
PAGES = ("results", "benchmarks")
_FRAME = spec.FOLDER / "page"


def page(name: str, results_dir: Path = results.FOLDER, frame: Path = _FRAME) -> str:
    """A whole page of `PAGES` as Markdown.

    Its frame's `{{experiment NAME}}` is an experiment's section, `{{error NAME/VARIANT}}` a variant's test error,
    `{{benchmarks TABLE}}` a table of benchmarks.toml, `{{records BENCHMARK}}` all records of a benchmark.
    """

    def fill(found: re.Match) -> str:
        kind, wanted = found.groups()
        if kind == "experiment":
            experiment = spec.load(wanted)
            return section(experiment, outcomes(experiment, results_dir))
        if kind == "error":
            experiment = spec.load(wanted.partition("/")[0])
            variant = wanted.partition("/")[2]
            return with_figures(f"{{{variant}:test_error}}", outcomes(experiment, results_dir))
        if kind == "records":
            return tables.of_records(wanted, results_dir / "benchmarks")
        rows = tomllib.loads((frame / "benchmarks.toml").read_text())
        return tables.of_benchmarks(rows[wanted], results_dir / "benchmarks")

    return re.sub(r"\{\{(experiment|error|benchmarks|records) ([\w./-]+)\}\}", fill, (frame / f"{name}.md").read_text())


def section(experiment: Experiment, found: Sequence[Outcome]) -> str:
    """One experiment: what it is, its prose, table and figure, and where published figures stand."""
    any_record = any(outcome.records for outcome in found)
    is_sweep = experiment.figure == "sweep"
    table = tables.of_sweep if is_sweep else tables.of_variants
    picture = f"![{experiment.title}]({image_of(experiment).relative_to(DOCS)})"
    expected = f"Expected: {experiment.minutes:.0f} minutes on {experiment.hardware}."
    parts = [
        f"### {experiment.title}",
        f"`python -m experiments.run {experiment.name}`" + (f": {what}." if (what := experiment.reproduces) else "."),
        with_figures(experiment.note.strip(), found),
        table(experiment, found),
        picture if figures.has(experiment, found) else "",
        " ".join(filter(None, [is_sweep and tables.effort(found), tables.notes(found), tables.sources(experiment)])),
        expected if experiment.minutes and not any_record else "",
    ]
    return "\n\n".join(part for part in parts if part)


def image_of(experiment: Experiment) -> Path:
    """Where an experiment's picture is kept."""
    return DOCS / "images" / f"results-{experiment.name}.png"


def with_figures(note: str, found: Sequence[Outcome]) -> str:
    """Fills `{variant:figure}`, such as `{paper:test_error}`, in with what was measured.

    Raises:
        UserError: If there is no such variant.
    """
    known = {outcome.variant.name: outcome for outcome in found}

    def measured(match: re.Match) -> str:
        name, figure = match.groups()
        if name not in known:
            raise UserError(f"note: {match[0]} names no variant; there are {', '.join(known)}")
        text = known[name].text(figure)
        return text if known[name].mean(figure) is None else f"{text}%" if figure.endswith("error") else text

    return re.sub(r"\{([\w.-]+):(\w+)\}", measured, note)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    parser = OneLineParser(prog="experiments.report", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a page is out of date")
    return exits.run(parser.prog, functools.partial(_report, parser.parse_args(argv)))


def _report(args: argparse.Namespace, signals: Signals) -> int:
    texts = {DOCS / f"{name}.md": page(name) for name in PAGES}
    if args.check:
        return int(any(path.read_text() != text for path, text in texts.items()))
    for name in spec.names():
        experiment = spec.load(name)
        found = outcomes(experiment, results.FOLDER)
        if figures.has(experiment, found):
            figures.draw(experiment, found, image_of(experiment))
        print(f"{name:24} {sum(len(outcome.records) for outcome in found)} records")
    for record in tables.records(results.FOLDER / "benchmarks", "train_step-vgg7")[:1]:
        figures.steps(record["figures"]["sizes"], DOCS / "images" / "benchmarks-steps.png")
    for path, text in texts.items():
        files.write_bytes(path, text.encode())
        missing = text.count(NOT_RUN)
        print(f"wrote {path.relative_to(ROOT)}" + (f"; {missing} figures are not there yet" if missing else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
