"""Learning rates over the epochs of a training: `"8@0,1@200,0.125@250"`."""

from __future__ import annotations

import math
import re

from wage_tf.errors import UserError

Schedule = tuple[tuple[int, float], ...]
"""(first epoch, η) pairs, epochs rising from 0."""

_LAST_EPOCH = 1_000_000
_ENTRY = re.compile(r"\s*((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*@\s*([0-9]+)\s*")


def parse(text: str) -> Schedule:
    """Reads `"8@0,1@200,0.125@250"`: η and the epoch it starts from.

    Raises:
        ValueError: If an entry is not η@EPOCH, the epochs do not rise from 0 to at most a million, or an η is not
            positive.
    """
    entries = text.split(",")
    matches = [match for match in map(_ENTRY.fullmatch, entries) if match]
    if len(matches) < len(entries):
        raise ValueError(_malformed(text))
    return checked(tuple((int(match[2]), float(match[1])) for match in matches))


def checked(schedule: Schedule) -> Schedule:
    """Returns a schedule that is one.

    Raises:
        ValueError: If the epochs do not rise from 0 to at most a million, or an η is not positive and finite.
    """
    epochs = [epoch for epoch, _ in schedule]
    rises = epochs[:1] == [0] and epochs == sorted(set(epochs)) and epochs[-1] <= _LAST_EPOCH
    if not rises or not all(0 < eta < math.inf for _, eta in schedule):
        raise ValueError(_malformed(to_text(schedule)))
    return schedule


def to_text(schedule: Schedule) -> str:
    """Writes a schedule as `parse` reads it."""
    return ",".join(f"{rate_text(eta)}@{epoch}" for epoch, eta in schedule)


def rate_text(eta: float) -> str:
    """The shortest text that is read as exactly this η, a whole number without its `.0`."""
    return repr(float(eta)).removesuffix(".0")


def scaled(schedule: Schedule, factor: float) -> Schedule:
    """Returns the schedule with every η multiplied by `factor`."""
    return tuple((epoch, eta * factor) for epoch, eta in schedule)


def _malformed(text: str) -> str:
    return (
        "a schedule is pairs of learning rate and first epoch, epochs rising from 0, such as 8@0,1@200,0.125@250; "
        f"received {text!r}"
    )


def log2_of_rate(learning_rate: float) -> int:
    """log2 of a learning rate, for a training that multiplies by shifts.

    Raises:
        UserError: If the rate is no power of two.
    """
    mantissa, exponent = math.frexp(learning_rate)
    if mantissa != 0.5:
        raise UserError(f"learning rate {learning_rate} is not a power of two: no shift can multiply by it")
    return exponent - 1
