"""Bars for what takes long, at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import keras

WIPE = "\r\x1b[K"
"""Takes the bar off the terminal's line, before another is written there."""


def with_bar(batches: Iterable, total: int) -> Iterator:
    """Passes `batches` on, `total` of them; at a terminal, below a bar that counts those that are done with."""
    if not sys.stdout.isatty():
        yield from batches
        return
    bar = keras.utils.Progbar(total)
    for done, batch in enumerate(batches, 1):
        yield batch
        bar.update(done, finalize=False)
    print(end=WIPE, flush=True)


class TrialProgress(keras.callbacks.Callback):
    """Keras' bar over all steps of a training, with the training error in percent."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._bar: Any = None
        print(end=WIPE)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if self._bar is None:
            steps = (self.params["epochs"] - epoch) * self.params["steps"]
            self._bar = keras.utils.Progbar(steps, stateful_metrics=("error",))
            self._done = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self._done += 1
        self._bar.update(self._done, [("error", logs["error"])], finalize=False)
