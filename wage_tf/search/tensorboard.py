"""A search in TensorBoard: the HParams view over all trials."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from tensorboard.plugins.hparams import api

from wage_tf.search.records import TrialRecord

_METRICS = {"validation_error": "validation error, %", "cost": "cost (share of 8-8-8-8)", "score": "score"}


def write_space(path: Path, choices: Mapping[str, Sequence[str]]) -> None:
    """Declares the dimensions and the metrics of a search, the table's columns.

    Args:
        path: Directory of the event files.
        choices: Candidates of every dimension.

    Raises:
        OSError: If the files cannot be written.
    """
    with _events_in(path):
        api.hparams_config(
            hparams=[api.HParam(name, api.Discrete(values)) for name, values in choices.items()],
            metrics=[api.Metric(name, display_name=title) for name, title in _METRICS.items()],
        )


def write_trial(path: Path, record: TrialRecord, choices: Mapping[str, Sequence[str]]) -> None:
    """Writes a trial's row: its width in every dimension, error, cost and score; a failed one has no error.

    Args:
        path: Directory of the event files.
        record: The trial.
        choices: Candidates of every dimension; one alone is every trial's.

    Raises:
        OSError: If the files cannot be written.
    """
    widths = {**{name: values[0] for name, values in choices.items()}, **record.values}
    figures = {"validation_error": record.error, "cost": record.cost, "score": record.score}
    with _events_in(path / f"trial_{record.trial}", record.epochs):
        api.hparams({**widths, "pattern": record.pattern}, trial_id=f"{record.trial} {record.pattern}")
        for name, figure in figures.items():
            if figure is not None:
                tf.summary.scalar(name, figure)


@contextlib.contextmanager
def _events_in(path: Path, step: int | None = None) -> Iterator[None]:
    """Takes summaries of one step into event files; TensorFlow's own errors of writing become OSError."""
    try:
        with tf.summary.create_file_writer(str(path)).as_default(step=step):
            yield
    except tf.errors.OpError as error:
        raise OSError(f"the events in {path} cannot be written: {error.message}") from error
