"""Learning rates over the epochs of a training: `"8@0,1@200,0.125@250"`."""

from __future__ import annotations

import math

Schedule = tuple[tuple[int, float], ...]
"""(first epoch, η) pairs, epochs rising from 0."""

_LAST_EPOCH = 1_000_000


def parse(text: str) -> Schedule:
    """Reads `"8@0,1@200,0.125@250"`: η and the epoch it starts from.

    Raises:
        ValueError: If an entry is not η@EPOCH, the epochs do not rise from 0 to at most a million, or an η is not
            positive.
    """
    try:
        pairs = tuple((int(epoch), float(eta)) for eta, epoch in (entry.split("@") for entry in text.split(",")))
    except ValueError:
        raise ValueError(_malformed(text)) from None
    epochs = [epoch for epoch, _ in pairs]
    rises = epochs[0] == 0 and epochs == sorted(set(epochs)) and epochs[-1] <= _LAST_EPOCH
    if not rises or not all(0 < eta < math.inf for _, eta in pairs):
        raise ValueError(_malformed(text))
    return pairs


def to_text(schedule: Schedule) -> str:
    """Writes a schedule as `parse` reads it, to twelve digits."""
    return ",".join(f"{eta:.12g}@{epoch}" for epoch, eta in schedule)


def scaled(schedule: Schedule, factor: float) -> Schedule:
    """Returns the schedule with every η multiplied by `factor`."""
    return tuple((epoch, eta * factor) for epoch, eta in schedule)


def _malformed(text: str) -> str:
    return (
        "schedule: pairs of learning rate and first epoch, epochs rising from 0, such as 8@0,1@200,0.125@250; "
        f"received {text!r}"
    )
