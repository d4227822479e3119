"""Reads `.keras` files that come from outside."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from typing import Any

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
    if os.fspath(path).endswith((".h5", ".hdf5")):
        raise UserError(f"{path} is not a .keras file: read it with keras.models.load_model and save it as one")
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


def compiled_loss(path: str | os.PathLike) -> keras.losses.Loss | Callable | None:
    """The loss that a model was compiled with, by its name alone; None where it is not one of Keras' own.

    Args:
        path: A `.keras` file that `load_model` has read. Nothing in it is run.
    """
    with zipfile.ZipFile(path) as archive:
        settings = json.loads(archive.read("config.json")).get("compile_config")
    try:
        return keras.losses.get(_name(settings["loss"]))
    except (KeyError, TypeError, ValueError):
        return None


def _name(loss: Any) -> str:
    """Of a loss as Keras writes it: its name, its class or function, or a list or mapping of one for every output."""
    if isinstance(loss, dict) and "class_name" not in loss:
        loss = list(loss.values())
    if isinstance(loss, list):
        (loss,) = loss
    if isinstance(loss, dict):
        loss = loss["config"] if loss["class_name"] == "function" else loss["class_name"]
    return str(loss)
