"""What a trial found, and the tables of all trials."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from wage_tf import files, schedules
from wage_tf.costs import MEASURES
from wage_tf.runs.documents import Bits, Document, Etas, Natural, Words

TrialNumber = Annotated[str, pydantic.StringConstraints(pattern="^[0-9]+$")]
COMPLETED, FAILED, TOO_COSTLY = "completed", "failed", "too costly"


class TrialRecord(Document):
    """A trial that has ended.

    Attributes:
        trial: Its number.
        values: What the oracle chose.
        pattern: The pattern's name.
        bits: The patterns of its blocks.
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

    trial: TrialNumber
    values: dict[str, Words]
    pattern: Words
    bits: Bits
    schedule: Etas
    epochs: Natural
    status: Literal[COMPLETED, FAILED, TOO_COSTLY]  # type: ignore[valid-type]
    reason: Words
    errors: tuple[float, ...]
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
    rows = [_row(record) for record in records]
    if test_errors is not None:
        for record, row in zip(records, rows, strict=True):
            row["test_error"] = _number(test_errors.get(record.trial), 4)
    files.write_csv(path, rows)


def _row(record: TrialRecord) -> dict[str, object]:
    return {
        "trial": record.trial,
        "pattern": record.pattern,
        "schedule": schedules.to_text(record.schedule),
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
