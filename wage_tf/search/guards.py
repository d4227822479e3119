"""Ends the training of a pattern that cannot be trained."""

from __future__ import annotations

import keras
import numpy as np

_EPOCHS_AT_CHANCE = 2


class CannotTrain(Exception):
    """The training stands still; the message says how."""


class StopOnStandstill(keras.callbacks.Callback):
    """Raises `CannotTrain` when an epoch changes no weight, or validation is no better than chance twice in a row.

    At the last epoch once is enough. Needs validation data and the metric `error`.

    Args:
        chance: Validation error of always giving the same answer, percent.
        epochs: Epochs of the training.
    """

    def __init__(self, chance: float, epochs: int):
        super().__init__()
        self.chance = chance
        self.epochs = epochs
        self._weights: list[np.ndarray] = []
        self._at_chance = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._weights = self._trainable()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if all(np.array_equal(*pair) for pair in zip(self._weights, self._trainable(), strict=True)):
            raise CannotTrain(f"epoch {epoch + 1} changed no weight: every update is below the grid or clipped")
        self._at_chance = self._at_chance + 1 if logs["val_error"] >= self.chance else 0
        if self._at_chance == _EPOCHS_AT_CHANCE or (self._at_chance and epoch + 1 == self.epochs):
            raise CannotTrain(f"stuck at chance: validation error {logs['val_error']:.1f}% after epoch {epoch + 1}")

    def _trainable(self) -> list[np.ndarray]:
        return [np.asarray(variable) for variable in self.model.trainable_variables]
