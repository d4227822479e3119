"""States of a training, on disk: written atomically, checked when read.

A checkpoint is the SHA-256 of the rest, then a NumPy .npz archive of the model's weights, the optimizer's variables
and the metrics' sums, and a JSON text of the counters. No random state: a run's random numbers are functions of its
seed and step.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from wage_tf import files
from wage_tf.errors import UserError
from wage_tf.runs.directory import Row
from wage_tf.runs.documents import Document, Natural

_DIGEST_BYTES = hashlib.sha256().digest_size
_KEPT = 2


class DamagedCheckpoint(UserError):
    """A checkpoint whose contents are not what was written, or another network's; the message names the file."""


class _Counters(Document):
    """What a checkpoint holds beside arrays."""

    step: Natural
    rows: tuple[dict[str, int | float], ...]
    seconds: float


@dataclasses.dataclass(frozen=True)
class State:
    """A training between two steps.

    Attributes:
        step: Training steps done since the start.
        rows: Finished epochs, as in metrics.csv.
        seconds: Wall-clock time of the training so far.
        model: Values of the model's weights.
        optimizer: Values of the optimizer's variables.
        metrics: Values of the metrics' variables in the epoch that is under way.
    """

    step: int
    rows: tuple[Row, ...]
    seconds: float
    model: list[np.ndarray]
    optimizer: list[np.ndarray]
    metrics: list[np.ndarray]

    @classmethod
    def of(cls, model: keras.Model, step: int, rows: tuple[Row, ...], seconds: float) -> State:
        """Takes the state of a compiled and built model."""
        return cls(
            step,
            rows,
            seconds,
            [np.asarray(variable) for variable in model.variables],
            [np.asarray(variable) for variable in model.optimizer.variables],
            [np.asarray(variable) for variable in model.metrics_variables],
        )

    def restore(self, model: keras.Model) -> None:
        """Puts weights and optimizer back into a model that was built and compiled alike; metrics not.

        Raises:
            DamagedCheckpoint: If they are another network's.
        """
        model.optimizer.build(model.trainable_variables)
        _assign(model.variables, self.model)
        _assign(model.optimizer.variables, self.optimizer)

    def restore_metrics(self, model: keras.Model) -> None:
        """Puts the sums of the epoch under way back into the metrics.

        Raises:
            DamagedCheckpoint: If they are other metrics'.
        """
        _assign(model.metrics_variables, self.metrics)


def to_bytes(state: State) -> bytes:
    """Returns the contents of a checkpoint."""
    arrays = {f"{part}{i}": array for part in _PARTS for i, array in enumerate(getattr(state, part))}
    counters = {"step": state.step, "rows": state.rows, "seconds": state.seconds}
    content = io.BytesIO()
    np.savez(content, counters=np.array(json.dumps(counters)), **arrays)
    payload = content.getvalue()
    return hashlib.sha256(payload).digest() + payload


def from_bytes(content: bytes) -> State:
    """Reads what `to_bytes` made.

    Raises:
        DamagedCheckpoint: If the digest does not fit the rest, or that is no checkpoint: zip, NumPy and JSON have
            errors of their own for that, so every exception counts as damage here.
    """
    payload = content[_DIGEST_BYTES:]
    if hashlib.sha256(payload).digest() != content[:_DIGEST_BYTES]:
        raise DamagedCheckpoint("its digest does not fit its contents")
    try:
        with np.load(io.BytesIO(payload)) as arrays:
            counters = _Counters.model_validate_json(str(arrays["counters"]))
            parts = {part: [np.asarray(arrays[name]) for name in _numbered(arrays.files, part)] for part in _PARTS}
    except Exception as error:
        raise DamagedCheckpoint(f"its contents are no checkpoint ({type(error).__name__})") from error
    return State(counters.step, counters.rows, counters.seconds, **parts)


def save(folder: Path, state: State) -> Path:
    """Writes `folder`/step-N.ckpt atomically, then removes all but the latest two."""
    path = folder / f"step-{state.step:09d}.ckpt"
    files.write_bytes(path, to_bytes(state))
    for outdated in paths(folder)[:-_KEPT]:
        outdated.unlink()
    return path


def load(path: Path) -> State:
    """Reads a checkpoint.

    Raises:
        DamagedCheckpoint: If its digest does not fit its contents.
    """
    try:
        return from_bytes(path.read_bytes())
    except DamagedCheckpoint as error:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: {error}") from error


def load_latest(folder: Path, warn: Callable[[str], None]) -> State | None:
    """Returns the newest sound checkpoint, None if there is none; damaged ones are removed.

    Args:
        folder: Where `save` writes.
        warn: Called with a line about every damaged one.
    """
    for path in reversed(paths(folder)):
        try:
            return load(path)
        except DamagedCheckpoint as error:
            warn(f"{error}; going back to the one before it")
            path.unlink()
    return None


def paths(folder: Path) -> list[Path]:
    """Returns the checkpoints in a folder, the oldest first."""
    return sorted(folder.glob("step-*.ckpt"))


_PARTS = ("model", "optimizer", "metrics")


def _numbered(names: list[str], part: str) -> list[str]:
    return sorted((name for name in names if name.startswith(part)), key=lambda name: int(name[len(part) :]))


def _assign(variables: list[keras.Variable], values: list[np.ndarray]) -> None:
    kinds = [(tuple(variable.shape), variable.dtype) for variable in variables]
    if kinds != [(value.shape, value.dtype.name) for value in values]:
        raise DamagedCheckpoint(
            "the checkpoint holds another network's weights: remove the run's checkpoints, or start a new run"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
