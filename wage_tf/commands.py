"""What the commands share: finished runs; and for `python -m wage_tf.…` one-line errors and exit codes.

`train.py` has parser helpers of its own, so that `--help` and a wrong argument answer before TensorFlow is imported.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from wage_tf.errors import UserError

if TYPE_CHECKING:
    import keras

    from wage_tf.runs import RunConfig

USER_ERROR = 2


class OneLineParser(argparse.ArgumentParser):
    """Reports a wrong argument in one line on stderr."""

    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR, f"{self.prog}: error: {message} (see --help)\n")


def positive_int(text: str) -> int:
    """An argument that counts something: at least 1."""
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"an integer of at least 1 is wanted, received {text!r}")


def run_command(parser: argparse.ArgumentParser, command: Callable, argv: Sequence[str] | None) -> int:
    """Runs `command(arguments)` and returns its exit code; a user's mistake is one line on stderr and exit code 2."""
    arguments = parser.parse_args(argv)
    try:
        return command(arguments)
    except UserError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename or 'a file'}: {error.strerror or error}"
    print(f"{parser.prog}: error: {' '.join(message.split())}", file=sys.stderr)
    return USER_ERROR


def load_run(path: str) -> tuple[RunConfig, keras.Model]:
    """Reads the configuration and the model of a finished run.

    Raises:
        UserError: If there is no finished run, its configuration is damaged, or its model is damaged or not a Keras
            model.
    """
    from wage_tf.runs import RunDirectory

    run = RunDirectory(path)
    config = run.read_config()
    try:
        _check(config)
    except (ValueError, TypeError) as error:
        raise UserError(f"the config.json of {path} is damaged: {error}") from error
    if not run.model.is_file():
        raise UserError(f"{path} has no model.keras: train the run to its end first")
    return config, load_model(run.model)


def load_model(path: object) -> keras.Model:
    """Loads a `.keras` file in safe mode, all of its checksums verified first.

    Raises:
        UserError: If the file is damaged or not a Keras model: zip, JSON, HDF5, Keras and the layers' own constructors
            have errors of their own for that, so every exception counts as damage here.
    """
    import keras

    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} does not fit")
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path} is damaged or not a Keras model: {reason}") from error


def _check(config: RunConfig) -> None:
    """Raises ValueError or TypeError unless the fields have values that `train.py` could have written."""
    from wage_tf.bits import BitWidths
    from wage_tf.recipes import parse_schedule

    for name in ("dataset", "model", "schedule"):
        _require(name, getattr(config, name), str)
    for name, smallest in (("batch_size", 1), ("epochs", 1), ("seed", 0)):
        _require(name, getattr(config, name), int, smallest)
    for name, kind in (("data_dir", str), ("limit", int), ("image_size", int)):
        if getattr(config, name) is not None:
            _require(name, getattr(config, name), kind, 1 if kind is int else None)
    parse_schedule(config.schedule)
    for pattern in config.bits.values() if isinstance(config.bits, Mapping) else [config.bits]:
        BitWidths.parse(pattern)


def _require(name: str, value: object, kind: type, smallest: int | None = None) -> None:
    if type(value) is not kind or (smallest is not None and value < smallest):
        least = "" if smallest is None else f" of at least {smallest}"
        raise ValueError(f"{name} is of type {kind.__name__}{least}; received {value!r}")
