"""The exported C code in the place of a device: compiled on this machine, called through ctypes."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

import numpy as np

from wage_tf.errors import UserError


class Device:
    """A folder that `wage_tf.export.write_c` made for training, as a shared library."""

    def __init__(self, folder: Path, outputs: int):
        library = folder / "device.so"
        compiler = [os.environ.get("CC", "cc"), "-std=c99", "-O3", "-shared", "-fPIC", "-o", library]
        subprocess.run([*compiler, *sorted(folder.glob("wage_*.c"))], check=True)
        self._library = ctypes.CDLL(str(library))
        self._outputs = outputs

    def train_step(self, images: np.ndarray, labels: np.ndarray) -> None:
        """One step, on raw pixels and class numbers."""
        labels = labels.astype(np.uint8)
        status = self._library.wage_train_step(_bytes(images), _bytes(labels), len(images))
        if status != 0:
            raise UserError(f"wage_train_step: status {status}")

    def set_learning_rate(self, log2: int) -> None:
        """The rate is 2^log2."""
        if self._library.wage_set_learning_rate(log2) != 0:
            raise UserError(f"learning rate: 2^-62 to 2^30; received 2^{log2}")

    def classes(self, images: np.ndarray) -> np.ndarray:
        """The class of every image."""
        scores = np.empty((len(images), self._outputs), np.int32)
        for image, row in zip(images, scores, strict=True):
            self._library.wage_infer(_bytes(image), row.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)))
        return scores.argmax(axis=1)

    def save(self, size: int) -> bytes:
        """The block of weights."""
        block = ctypes.create_string_buffer(size)
        self._library.wage_save(block)
        return block.raw


def _bytes(array: np.ndarray) -> object:
    return np.ascontiguousarray(array).ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
