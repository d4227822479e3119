"""Records a run: metrics of every epoch, and checkpoints from which it goes on bit for bit."""

from __future__ import annotations

import dataclasses
import time

import keras
import numpy as np

from wage_tf.native.trainer import sync
from wage_tf.runs import checkpoints
from wage_tf.runs.checkpoints import State
from wage_tf.runs.directory import Row, RunDirectory


class RunRecorder(keras.callbacks.Callback):
    """Writes metrics.csv and checkpoints of a run, every epoch and every `checkpoint_steps` steps.

    Args:
        run: The run's directory; None counts and writes nothing, for a worker that is not the chief.
        steps_per_epoch: Training steps of a whole epoch.
        checkpoint_steps: Steps between checkpoints within an epoch; 0 for the epoch's end only.
        state: The state to go on from (its weights are restored by the caller); None for a new run.
    """

    def __init__(
        self,
        run: RunDirectory | None,
        steps_per_epoch: int,
        checkpoint_steps: int = 0,
        state: State | None = None,
    ):
        super().__init__()
        self.run = run
        self.steps_per_epoch = steps_per_epoch
        self.checkpoint_steps = checkpoint_steps
        self.step = state.step if state else 0
        self.rows: tuple[Row, ...] = state.rows if state else ()
        self._resumed = state if state and state.step % steps_per_epoch else None
        self._started = time.monotonic() - (state.seconds if state else 0.0)
        self._sums_of_training: list[np.ndarray] | None = None

    @property
    def seconds(self) -> float:
        """Wall-clock time of the run so far, earlier sessions included."""
        return time.monotonic() - self._started

    def save(self) -> None:
        """Writes a checkpoint of this moment, be it in training or in the validation after an epoch."""
        if self.run is None:
            return
        sync(self.model)
        state = State.of(self.model, self.step, self.rows, self.seconds)
        if self._sums_of_training is not None:
            state = dataclasses.replace(state, metrics=self._sums_of_training)
        checkpoints.save(self.run.checkpoints, state)

    def on_epoch_begin(self, epoch: int, logs: Row | None = None) -> None:
        if self._resumed is not None:
            self._resumed.restore_metrics(self.model)
            self._resumed = None

    def on_train_batch_end(self, batch: int, logs: Row | None = None) -> None:
        self.step += 1
        at_end_of_epoch = self.step % self.steps_per_epoch == 0
        if self.checkpoint_steps and self.step % self.checkpoint_steps == 0 and not at_end_of_epoch:
            self.save()

    def on_test_begin(self, logs: Row | None = None) -> None:
        self._sums_of_training = [np.asarray(variable) for variable in self.model.metrics_variables]

    def on_test_end(self, logs: Row | None = None) -> None:
        self._sums_of_training = None

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        row: dict[str, int | float] = {"epoch": epoch + 1}
        for name, value in logs.items():
            split, metric = ("test", name.removeprefix("val_")) if name.startswith("val_") else ("train", name)
            row[f"{split}_{metric}"] = float(value)
        self.rows = (*self.rows, row)
        self.save()
        if self.run is not None:
            self.run.write_metrics(self.rows)
