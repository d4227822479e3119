"""best.json, and the way from a search into a full training: `train.py --bits-from`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from wage_tf import files
from wage_tf.errors import UserError
from wage_tf.search.directory import SearchConfig, SearchDirectory
from wage_tf.search.records import TrialRecord, completed
from wage_tf.search.scoring import Scoring

_TRAINING = ("dataset", "data_dir", "image_size", "model", "width")


def write(
    directory: SearchDirectory, config: SearchConfig, scoring: Scoring, best: TrialRecord, test_error: float | None
) -> None:
    """Writes best.json: the settings of a full training, and what the search measured."""
    found = {
        **_settings(config.as_json(), best),
        "pattern": best.pattern,
        "trial": best.trial,
        "validation_error": best.error,
        "validation_error_spread": best.spread,
        "test_error": test_error,
        "cost": best.cost,
        "costs": best.costs,
        "score": best.score,
        "formula": scoring.formula,
        "keeps_constraint": scoring.accepts(best.error, best.cost),
        "epochs": best.epochs,
        "seed": config.seed,
        "executions": config.executions,
    }
    files.write_json(directory.best, found)


def training_settings(path: str | Path, pattern: str | None = None) -> dict[str, object]:
    """Returns the settings with which `train.py` trains a pattern that a search found, those that are not None.

    Args:
        path: A search's directory, or its best.json.
        pattern: The pattern as trials.csv names it; None for the best one.

    Raises:
        UserError: If there is no such file, search or pattern.
    """
    path = Path(path)
    if pattern is None:
        settings = _read(path / "best.json" if path.is_dir() else path)
        missing = [name for name in ("dataset", "bits", "model") if name not in settings]
        if missing:
            raise UserError(f"--bits-from {path}: no {missing[0]!r} in it, so it is not a best.json of tuner.py")
    else:
        directory = SearchDirectory(path if path.is_dir() else path.parent)
        config = _read(directory.path / "search.json")
        records = [r for r in completed(directory.records()) if r.pattern == pattern.strip().replace(",", "-")]
        if not records:
            raise UserError(f"--pattern {pattern}: no completed trial of that name in {directory.trials}")
        settings = _settings(config, min(records, key=lambda record: (-record.epochs, record.score)))
    names = (*_TRAINING, "bits", "schedule")
    return {name: settings[name] for name in names if settings.get(name) is not None}


def _settings(config: Mapping[str, object], record: TrialRecord) -> dict[str, object]:
    """The schedule is left to the recipe where the search did."""
    schedule = record.schedule if config["learning_rates"] else None
    return {**{name: config[name] for name in _TRAINING}, "bits": record.bits, "schedule": schedule}


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"--bits-from: there is no {path}: give a search's directory or its best.json") from None
    except (ValueError, OSError) as error:
        raise UserError(f"--bits-from: {path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"--bits-from: {path} is not a best.json of tuner.py")
    return found
