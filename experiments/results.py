"""The record of a run: `experiments/results/<experiment>/<variant>-s<seed>.json`, from which the report is made."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from experiments.provenance import ROOT
from experiments.spec import Run
from wage_tf import files
from wage_tf.errors import UserError
from wage_tf.runs.directory import RunDirectory, versions

FOLDER = ROOT / "experiments" / "results"


def path_of(folder: Path, run: Run) -> Path:
    """Where the record of a run is kept."""
    return folder / run.experiment.name / f"{run}.json"


def read(folder: Path, run: Run) -> dict | None:
    """The record of a run; None if there is none, or one of other settings than the experiment has now.

    The engine may be another: what both can train they train to the same bits.
    """
    path = path_of(folder, run)
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    return record if _deciding(record["settings"]) == _deciding(_settings(run)) else None


def write(folder: Path, record: Mapping[str, object]) -> None:
    """Writes a record, lists of numbers in one line each."""
    text = json.dumps(record, indent=2)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda found: f"[{' '.join(found[0][1:-1].split())}]", text)
    path = folder / str(record["experiment"]) / f"{record['variant']}-s{record['seed']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, (text + "\n").encode())


def of_finished_run(run: Run, directory: Path, sessions: list[dict]) -> dict[str, object]:
    """The record of a run that train.py took to its end."""
    results = RunDirectory(directory).read_results().as_json()
    figures = ("test_error", "best_test_error", "best_epoch", "train_error", "epochs", "seconds", "versions")
    return {
        **_head(run, "done"),
        **{name: results[name] for name in figures},
        "sessions": sessions,
        "metrics": read_metrics(directory),
    }


def of_diverged_run(run: Run, directory: Path, sessions: list[dict], reason: str) -> dict[str, object]:
    """The record of a run that ended in a loss or a weight that is no number."""
    metrics = read_metrics(directory)
    return {
        **_head(run, "diverged"),
        "reason": reason,
        "epochs": len(metrics.get("epoch", [])),
        "versions": versions(),
        "sessions": sessions,
        "metrics": metrics,
    }


def of_same_training(run: Run, record: Mapping[str, object]) -> dict[str, object]:
    """The record of a run whose training another experiment has recorded."""
    return {**record, **_head(run, str(record["status"]))}


def read_metrics(directory: Path) -> dict[str, list[float]]:
    """The columns of a run directory's metrics.csv; empty before the first epoch has ended."""
    try:
        with open(directory / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return {}
    columns = {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}
    return columns and {**columns, "epoch": [int(epoch) for epoch in columns["epoch"]]}


def _head(run: Run, status: str) -> dict[str, object]:
    return {
        "experiment": run.experiment.name,
        "variant": run.variant.name,
        "seed": run.seed,
        "status": status,
        "command": shlex.join(["python", "train.py", *run.arguments]),
        "settings": _settings(run),
    }


def _settings(run: Run) -> dict[str, object]:
    return dict(run.variant.settings)


def _deciding(settings: Mapping[str, object]) -> dict[str, object]:
    """The settings that decide the figures."""
    return {name: value for name, value in settings.items() if name != "engine"}
