"""The start of a command: arguments first, TensorFlow afterwards, and quietly."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
from collections.abc import Iterator

from wage_tf.cli import exits

_BACKEND = "tensorflow"
_LIBRARIES = ("absl", "tensorflow")
_KERAS_SETTINGS = {"image_data_format": "channels_last", "floatx": "float32"}


@contextlib.contextmanager
def importing_tensorflow(verbose: bool = False) -> Iterator[None]:
    """Keeps off the terminal what the import of TensorFlow writes, and what it and its data sets log from then on.

    Quantized layers run on TensorFlow, with channels last and float32 sums: where the environment or keras.json say
    otherwise for other programs, that is overridden with a warning.

    Args:
        verbose: Show all of it.
    """
    _choose_backend()
    with contextlib.nullcontext() if verbose else _silent_stderr(), _collector_at_rest(), _without_jax():
        yield
        import keras
    if not verbose:
        for library in _LIBRARIES:
            logging.getLogger(library).setLevel(logging.ERROR)
    for name, value in _KERAS_SETTINGS.items():
        found = getattr(keras.config, name)()
        if found != value:
            exits.show_warning(f"{name}={found} in keras.json is for other programs: this command uses {value}")
            getattr(keras.config, f"set_{name}")(value)


@contextlib.contextmanager
def _collector_at_rest() -> Iterator[None]:
    """No search for garbage within the import, a third of its time, nor later among the objects that it made."""
    if "tensorflow" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def _without_jax() -> Iterator[None]:
    """TensorFlow Lite would import JAX where that is installed, an eighth of the import's time, for no command."""
    if "jax" in sys.modules:
        yield
        return
    sys.modules["jax"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["jax"]


def _choose_backend() -> None:
    chosen = os.environ.get("KERAS_BACKEND", _BACKEND)
    if chosen != _BACKEND:
        exits.show_warning(f"KERAS_BACKEND={chosen} is for other programs: this command uses {_BACKEND}")
    os.environ["KERAS_BACKEND"] = _BACKEND


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    with contextlib.ExitStack() as stack:
        try:
            terminal = os.dup(2)
        except OSError:
            yield
            return
        stack.callback(os.close, terminal)
        stack.callback(os.dup2, terminal, 2)
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
