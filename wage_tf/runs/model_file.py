"""Reads `.keras` files that come from outside."""

from __future__ import annotations

import os
import zipfile

import keras

from wage_tf.errors import UserError

_LARGEST_CONFIG = 64 * 2**20


def load_model(path: str | os.PathLike) -> keras.Model:
    """Loads a `.keras` file in safe mode, uncompiled, all of its checksums verified first.

    Raises:
        UserError: If there is no file, or it is damaged or not a Keras model: zip, JSON, HDF5, Keras and the layers'
            own constructors have errors of their own for that, so every exception counts as damage here.
    """
    if not os.path.exists(path):
        raise UserError(f"there is no model file {path}: give a .keras file")
    try:
        with zipfile.ZipFile(path) as archive:
            texts = [entry for entry in archive.infolist() if entry.filename.endswith(".json")]
            if any(entry.file_size > _LARGEST_CONFIG for entry in texts):
                raise zipfile.BadZipFile(f"its configuration is larger than {_LARGEST_CONFIG} bytes")
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} does not fit")
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path} is damaged or not a Keras model: {reason}") from error
