"""The patterns worth knowing: those that no other beats in both error and cost, and the one with the best score."""

from __future__ import annotations

from collections.abc import Sequence

from wage_tf.search.candidates import LEARNING_RATE
from wage_tf.search.records import TrialRecord, completed


def front(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Returns the Pareto front of the completed trials, the cheapest first; of equals the first trial."""
    found: list[TrialRecord] = []
    for record in sorted(_longest(records), key=lambda record: (record.cost, record.error)):
        if not found or record.error < found[-1].error:
            found.append(record)
    return found


def contenders(records: Sequence[TrialRecord], epochs: int) -> list[TrialRecord]:
    """Returns the completed trials that are on the front or may still come to it.

    A pattern counts by its longest training, so a trial that only shorter ones than `epochs` beat comes to the front
    if these are continued (hyperband) and get worse. The result holds the front.

    Args:
        records: All trials.
        epochs: Epochs of the longest trainings, which are never continued.
    """
    longest = _longest(records)

    def is_beaten(record: TrialRecord) -> bool:
        return record not in front([other for other in longest if other is record or other.epochs >= epochs])

    return [record for record in longest if not is_beaten(record)]


def best(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """Returns the completed trial of the smallest score, the cheapest of equals; None if there is none."""
    return min(_longest(records), key=lambda record: (record.score, record.cost, record.error), default=None)


def _longest(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Of a choice that was trained more than once (hyperband) the longest training."""
    longest: dict[tuple[str, str | None], TrialRecord] = {}
    for record in completed(records):
        key = (record.pattern, record.values.get(LEARNING_RATE))
        if key not in longest or record.epochs > longest[key].epochs:
            longest[key] = record
    return list(longest.values())
