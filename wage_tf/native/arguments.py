"""Checks of what a network is called with, before anything is written."""

from __future__ import annotations

import numpy as np

from wage_tf.errors import UserError


def images(images: np.ndarray, shape: tuple[int, ...], batch: int) -> np.ndarray:
    """Returns images that are uint8 [1 to batch, *shape] in one block of memory.

    Raises:
        UserError: If they are not.
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != shape:
        sizes = ", ".join(map(str, shape))
        raise UserError(f"images: uint8 of shape [batch, {sizes}]; received {_kind(images)}")
    if not 1 <= len(images) <= batch:
        raise UserError(f"images: 1 to {batch} at once; received {len(images)}")
    if not images.flags.c_contiguous:
        raise UserError("images: one contiguous block, in C order; received a strided view (numpy.ascontiguousarray)")
    return images


def labels(labels: np.ndarray, count: int, classes: int) -> np.ndarray:
    """Returns class numbers, integers [count], as int32.

    Raises:
        UserError: If they are not that, or one is no class.
    """
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise UserError(f"labels: class numbers, integers [{count}]; received {_kind(labels)}")
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise UserError(f"labels: class numbers 0 to {classes - 1}; received {wrong[0]}")
    return np.ascontiguousarray(labels, np.int32)


def count(name: str, value: int, largest: int) -> int:
    """Returns an integer from 1 to `largest`.

    Raises:
        UserError: If it is not; the message begins with `name`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 1 <= value <= largest:
        raise UserError(f"{name}: an integer from 1 to {largest}; received {value!r}")
    return int(value)


def _kind(thing: object) -> str:
    return f"{thing.dtype} of shape {thing.shape}" if isinstance(thing, np.ndarray) else type(thing).__name__
