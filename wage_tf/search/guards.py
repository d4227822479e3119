"""Ends the training of a pattern that cannot be trained."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from wage_tf.native.trainer import sync

_EPOCHS_AT_CHANCE = 2
_FIRST_LOOK = 4
_LOST_TO_CLIP = 0.95
_FEWEST_UPDATES = 100


class CannotTrain(Exception):
    """The training stands still or cannot begin; the message says how."""


class StopOnStandstill(keras.callbacks.Callback):
    """Raises `CannotTrain` when an epoch changes no weight, or validation is no better than chance twice in a row.

    At the last epoch once is enough. Needs validation data and the metric `error`.

    Args:
        chance: Validation error of always giving the same answer, percent.
        epochs: Epochs of the training.
    """

    def __init__(self, chance: float, epochs: int):
        super().__init__()
        self.chance = chance * (1 - 2.0**-23)  # The error is a mean in float32.
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


class StopOnClipping(keras.callbacks.Callback):
    """Raises `CannotTrain` when the clip takes (nearly) all of an update away.

    Looks before the first step and after 4, 16, 64, ... steps at the update ΔW that a fixed batch asks for. The clip
    takes the share 1 − Σ|W − clip(W − ΔW)| / Σ|ΔW| of it, over all quantized kernels. A network that trains loses
    half of it at most, at its start, where binary weights all stand at the clip; from 95% on nothing is learnt any
    more. Fewer than 100 weights that are to change say nothing.

    Args:
        images: The batch.
        targets: Its targets.
    """

    def __init__(self, images: np.ndarray, targets: np.ndarray):
        super().__init__()
        self.images = tf.convert_to_tensor(images)
        self.targets = tf.convert_to_tensor(targets)
        self._steps = 0
        self._next_look = 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if self._steps == self._next_look:
            self._next_look = max(_FIRST_LOOK, _FIRST_LOOK * self._next_look)
            self._look()
        self._steps += 1

    def _look(self) -> None:
        sync(self.model)
        wanted, moved, count = self._update()
        if count >= _FEWEST_UPDATES and moved <= (1 - _LOST_TO_CLIP) * wanted:
            raise CannotTrain(
                f"all updates clipped: the clip takes {100 * (1 - moved / wanted):.1f}% of the update after "
                f"{self._steps} steps; a smaller learning rate may help"
            )

    def _update(self) -> tuple[float, float, int]:
        """Returns Σ|ΔW|, Σ|W − clip(W − ΔW)| and the number of weights that are to change."""
        optimizer = self.model.optimizer
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        kernels = [v for v in self.model.trainable_variables if hasattr(v, "bits") and v.constraint is not None]
        with tf.GradientTape() as tape:
            loss = self.model.compute_loss(self.images, self.targets, self.model(self.images, training=False))
        gradients = tape.gradient(loss, [kernel.value for kernel in kernels])
        wanted, moved, count = 0.0, 0.0, 0
        for kernel, gradient in zip(kernels, gradients, strict=True):
            delta = optimizer.quantized_step(gradient, kernel, optimizer.learning_rate)
            before = tf.convert_to_tensor(kernel)
            wanted += float(tf.reduce_sum(tf.abs(delta)))
            moved += float(tf.reduce_sum(tf.abs(before - kernel.constraint(before - delta))))
            count += int(tf.math.count_nonzero(delta))
        return wanted, moved, count
