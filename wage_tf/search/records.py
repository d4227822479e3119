"""What a trial found, and the tables of all trials."""

from __future__ import annotations

import csv
import dataclasses
import io
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from wage_tf import files
from wage_tf.costs import MEASURES

COMPLETED, FAILED, TOO_COSTLY = "completed", "failed", "too costly"


@dataclasses.dataclass(frozen=True)
class TrialRecord:
    """A trial that has ended.

    Attributes:
        trial: Its number.
        values: What the oracle chose.
        pattern: The pattern's name.
        bits: What `models.build` takes for it.
        schedule: Learning rates it was trained with.
        epochs: Epochs it was trained for.
        status: `"completed"`, `"failed"`, or `"too costly"` to be trained.
        reason: Why it is not completed; empty if it is.
        errors: Validation error of each training, percent.
        costs: Every measure of cost as a share of the 8-8-8-8 network's.
        cost: The one that the search goes by.
        score: What the oracle was told.
        seconds: Wall-clock time of the trial.
        training_seconds: Part of it spent in training and validation.
    """

    trial: str
    values: dict[str, str]
    pattern: str
    bits: str | dict[str, str]
    schedule: str
    epochs: int
    status: str
    reason: str
    errors: list[float]
    costs: dict[str, float]
    cost: float
    score: float
    seconds: float
    training_seconds: float

    @property
    def error(self) -> float | None:
        """Mean validation error, percent; None without a finished training."""
        return statistics.fmean(self.errors) if self.errors else None

    @property
    def spread(self) -> float | None:
        """Standard deviation of the validation error over the executions; None with fewer than two."""
        return statistics.stdev(self.errors) if len(self.errors) > 1 else None


def from_json(content: object) -> TrialRecord:
    """Returns the record that JSON gave back.

    Raises:
        ValueError: If a field is missing, unknown, or not of its type.
    """
    if not isinstance(content, dict):
        raise ValueError(f"a record is an object, not {content!r}")
    names = [field.name for field in dataclasses.fields(TrialRecord)]
    for name in names:
        if name not in content:
            raise ValueError(f"it has no {name!r}")
        if not _IS_OF_TYPE.get(name, _is_text)(content[name]):
            raise ValueError(f"{name!r} cannot be {content[name]!r}")
    unknown = [name for name in content if name not in names]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is unknown")
    return TrialRecord(**content)


def completed(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Returns the trials that trained."""
    return [record for record in records if record.status == COMPLETED]


def write_table(path: Path, records: Sequence[TrialRecord], test_errors: dict[str, float] | None = None) -> None:
    """Writes one row per trial.

    Args:
        path: The CSV file.
        records: The trials.
        test_errors: Test error of trials by number; gives a column where it is not None.
    """
    text = io.StringIO(newline="")
    rows = [_row(record) for record in records]
    if test_errors is not None:
        for row in rows:
            row["test_error"] = _number(test_errors.get(row["trial"]), 4)
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    files.write_bytes(path, text.getvalue().encode())


def _row(record: TrialRecord) -> dict[str, object]:
    return {
        "trial": record.trial,
        "pattern": record.pattern,
        "schedule": record.schedule,
        "epochs": record.epochs,
        "status": record.status,
        "error_mean": _number(record.error, 4),
        "error_spread": _number(record.spread, 4),
        "errors": " ".join(_number(error, 4) for error in record.errors),
        "cost": _number(record.cost, 6),
        "score": _number(record.score, 6),
        **{measure: _number(record.costs.get(measure), 6) for measure in MEASURES},
        "seconds": _number(record.seconds, 2),
        "training_seconds": _number(record.training_seconds, 2),
        "reason": record.reason,
    }


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_list_of_numbers(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


def _is_mapping_to(is_of_type: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(is_of_type, value.values()))


_IS_OF_TYPE: dict[str, Callable[[object], bool]] = {
    "values": _is_mapping_to(_is_text),
    "bits": lambda value: _is_text(value) or _is_mapping_to(_is_text)(value),
    "status": lambda value: value in (COMPLETED, FAILED, TOO_COSTLY),
    "errors": _is_list_of_numbers,
    "costs": _is_mapping_to(_is_number),
    **dict.fromkeys(("epochs", "cost", "score", "seconds", "training_seconds"), _is_number),
}
