"""An exported network compiled on this machine, called through ctypes."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

import numpy as np

from wage_tf.errors import UserError
from wage_tf.export.c_block import OVERHEAD


class Host:
    """The C code of a network that goes on learning, in a library of its own.

    Args:
        folder: What `wage_tf.export.write_c` wrote.
        name: The library's name; a second one in a folder does not know of the first.
    """

    def __init__(self, folder: Path, name: str = "network"):
        library = folder / f"{name}.so"
        compiler = [os.environ.get("CC", "cc"), "-std=c99", "-O3", "-march=native", "-shared", "-fPIC", "-o", library]
        subprocess.run([*compiler, *sorted(folder.glob("wage_*.c"))], check=True)
        self._library = ctypes.CDLL(str(library))
        lines = (line.split() for line in (folder / "wage_net.h").read_text().splitlines())
        sizes = {words[1]: words[2] for words in lines if words[:1] == ["#define"] and len(words) > 2}
        self._outputs = int(sizes["WAGE_OUTPUTS"])
        self._block_bytes = int(sizes["WAGE_STORED"]) + OVERHEAD

    def train_step(self, images: np.ndarray, labels: np.ndarray) -> None:
        """One step, on raw pixels and class numbers.

        Raises:
            UserError: If the code refuses it.
        """
        status = self._library.wage_train_step(_bytes(images), _bytes(labels.astype(np.uint8)), len(images))
        if status != 0:
            raise UserError(f"wage_train_step: status {status}")

    def set_learning_rate(self, log2: int) -> None:
        """The rate is 2^log2.

        Raises:
            UserError: If the code refuses it.
        """
        if self._library.wage_set_learning_rate(log2) != 0:
            raise UserError(f"learning rate: 2^-62 to 2^30; received 2^{log2}")

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Scores' codes of every image, int32 [images, classes]."""
        scores = np.empty((len(images), self._outputs), np.int32)
        for image, row in zip(images, scores, strict=True):
            self._library.wage_infer(_bytes(image), row.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)))
        return scores

    def error(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Percent of the images that are put into a wrong class."""
        return round(100 * float(np.mean(self.scores(images).argmax(axis=1) != labels)), 2)

    def save(self) -> bytes:
        """The block of weights."""
        block = ctypes.create_string_buffer(self._block_bytes)
        self._library.wage_save(block)
        return block.raw


def _bytes(array: np.ndarray) -> object:
    return np.ascontiguousarray(array).ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
