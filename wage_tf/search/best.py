"""best.json, and the way from a search into a full training: `train.py --bits-from`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from wage_tf import files, recipes
from wage_tf.bits import BitWidths
from wage_tf.errors import UserError
from wage_tf.search.directory import SearchConfig, SearchDirectory
from wage_tf.search.records import TrialRecord, completed
from wage_tf.search.scoring import Scoring

_TRAINING = ("dataset", "data_dir", "image_size", "model", "width")
_MOST_PIXELS = 2**31 - 1
_LARGEST_WIDTH = 100


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
        UserError: If there is no such file, search or pattern, or a setting in it is none.
    """
    path = Path(path)
    if pattern is None:
        path = path / "best.json" if path.is_dir() else path
        settings = _read(path)
    else:
        directory = SearchDirectory(path if path.is_dir() else path.parent)
        path = directory.path / "search.json"
        config = dataclasses.asdict(directory.read_config())
        records = [r for r in completed(directory.records()) if r.pattern == pattern.strip().replace(",", "-")]
        if not records:
            raise UserError(f"--pattern {pattern}: no completed trial of that name in {directory.trials}")
        settings = _settings(config, min(records, key=lambda record: (-record.epochs, record.score)))
    for name, rule in _RULES.items():
        if name not in settings and not rule.is_optional:
            raise UserError(f"--bits-from: {path} has no {name!r}, so it is not of a search: give its best.json")
        if not rule.allows(settings.get(name)):
            raise UserError(f"--bits-from: {name!r} in {path} must be {rule.what}; received {settings[name]!r}")
    return {name: settings[name] for name in _RULES if settings.get(name) is not None}


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
        reason = str(error).partition("\n")[0]
        raise UserError(f"--bits-from: {path} cannot be read: {reason}") from error
    if not isinstance(found, dict):
        raise UserError(f"--bits-from: {path} is not a best.json of tuner.py")
    return found


class _Rule(NamedTuple):
    """What a setting may be: a test, its words, and whether None or nothing leaves it to `train.py`."""

    is_valid: Callable[[object], bool]
    what: str
    is_optional: bool = False

    def allows(self, value: object) -> bool:
        return self.is_optional if value is None else self.is_valid(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_width(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= _LARGEST_WIDTH


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_PIXELS


def _is_bits(value: object) -> bool:
    """A pattern, or a mapping from blocks to patterns."""
    patterns = value.values() if isinstance(value, dict) else [value]
    return len(patterns) > 0 and all(_parses(BitWidths.parse, pattern) for pattern in patterns)


def _is_schedule(value: object) -> bool:
    return isinstance(value, str) and _parses(recipes.parse_schedule, value)


def _parses(parse: Callable[[object], object], value: object) -> bool:
    try:
        parse(value)
    except ValueError:
        return False
    return True


_RULES = {
    "dataset": _Rule(_is_text, "a data set's name or path"),
    "data_dir": _Rule(_is_text, "a directory or null", is_optional=True),
    "image_size": _Rule(_is_size, f"null or an integer from 1 to {_MOST_PIXELS}", is_optional=True),
    "model": _Rule(_is_text, "a network's name"),
    "width": _Rule(_is_width, f"a number above 0 and up to {_LARGEST_WIDTH}"),
    "bits": _Rule(_is_bits, "a pattern W-A-G-E, or a mapping from blocks to patterns"),
    "schedule": _Rule(_is_schedule, 'null or eta and the epoch it starts from, such as "8@0,1@200"', is_optional=True),
}
