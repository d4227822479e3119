"""Stops a training that diverged, or that a signal asks to stop."""

from __future__ import annotations

import contextlib

import keras
import numpy as np
import tensorflow as tf

from wage_tf.errors import Failure
from wage_tf.runs.recorder import RunRecorder
from wage_tf.runs.signals import Signals, Stopped


class Diverged(Failure):
    """The loss or a weight is NaN or infinite; the message names the layer."""

    def __init__(self, what: str):
        super().__init__(f"the training diverged: {what}; try a smaller learning rate")


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises `Diverged` when the loss or a weight turns NaN or infinite: the loss of training every step, that of the
    test images and weights every epoch."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if not np.isfinite(logs["loss"]):
            self._raise(f"the loss is {logs['loss']}")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if _non_finite_layers(self.model):
            self._raise(f"after epoch {epoch + 1} there are weights that are NaN or infinite")
        test_loss = (logs or {}).get("val_loss", 0.0)
        if not np.isfinite(test_loss):
            self._raise(f"after epoch {epoch + 1} the test loss is {test_loss}")

    def _raise(self, what: str) -> None:
        layers = _non_finite_layers(self.model)
        where = f"layer {layers[0]}" if layers else "the outputs, all weights are finite"
        more = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
        raise Diverged(f"{what}, first seen in {where}{more}")


class StopOnSignal(keras.callbacks.Callback):
    """Turns SIGINT and SIGTERM into `Stopped` after the current step, with a checkpoint of that moment.

    Of several workers only the chief stops by itself. The others keep on until it is gone, because a scheduler signals
    all of them at once and the chief needs them to finish its step; the error they then meet becomes `Stopped`.

    Signals are deferred while the object is used as a context manager; a second one stops without a checkpoint.

    Args:
        recorder: Writes the checkpoint; one without a run is that of a worker that is not the chief.
        signals: The command's handlers.
    """

    def __init__(self, recorder: RunRecorder, signals: Signals):
        super().__init__()
        self.recorder = recorder
        self.signals = signals
        self._deferral: contextlib.AbstractContextManager | None = None

    def __enter__(self) -> StopOnSignal:
        self._deferral = self.signals.deferred()
        self._deferral.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        self._deferral.__exit__(None, None, None)
        if self.signals.received is not None and isinstance(error, tf.errors.OpError):
            raise Stopped(self.signals.received) from error

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._stop_if_asked()

    def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self.signals.received is not None and self.recorder.run is not None:
            self.recorder.save()
            self.signals.check()


def _non_finite_layers(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if not all(np.isfinite(w).all() for w in layer.get_weights())]
