"""Stops a training that diverged, or that a signal asks to stop."""

from __future__ import annotations

import signal
from types import FrameType

import keras
import numpy as np
import tensorflow as tf

from wage_tf.callbacks.recorder import RunRecorder


class Diverged(Exception):
    """The loss or a weight is NaN or infinite; the message names the layer."""


class Interrupted(Exception):
    """A signal stopped the training; `signum` is its number."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises `Diverged` when the loss or a weight turns NaN or infinite: the loss every step, weights every epoch."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if not np.isfinite(logs["loss"]):
            self._raise(f"the loss is {logs['loss']}")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if _non_finite_layers(self.model):
            self._raise(f"after epoch {epoch + 1} there are weights that are no numbers")

    def _raise(self, what: str) -> None:
        layers = _non_finite_layers(self.model)
        where = f"layer {layers[0]}" if layers else "the outputs, all weights are finite"
        more = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
        raise Diverged(f"{what}, first seen in {where}{more}")


class StopOnSignal(keras.callbacks.Callback):
    """Turns SIGINT and SIGTERM into `Interrupted` after the current step, with a checkpoint of that moment.

    Handlers are in place while the object is used as a context manager; a second signal acts as without it.

    Of several workers only the chief stops by itself. The others keep on until it is gone, because a scheduler signals
    all of them at once and the chief needs them to finish its step; the error they then meet becomes `Interrupted`.

    Args:
        recorder: Writes the checkpoint; one without a run is that of a worker that is not the chief.
    """

    def __init__(self, recorder: RunRecorder):
        super().__init__()
        self.recorder = recorder
        self._received: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopOnSignal:
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._previous[signum] = signal.signal(signum, self._receive)
        return self

    def __exit__(self, kind: type | None, error: Exception | None, trace: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        if self._received is not None and isinstance(error, tf.errors.OpError):
            raise Interrupted(self._received) from error

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._stop_if_asked()

    def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._stop_if_asked()

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        self._received = signum
        signal.signal(signum, self._previous[signum])

    def _stop_if_asked(self) -> None:
        if self._received is not None and self.recorder.run is not None:
            self.recorder.save()
            raise Interrupted(self._received)


def _non_finite_layers(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if not all(np.isfinite(w).all() for w in layer.get_weights())]
