"""What a training is to come to: class numbers or targets from outside, as Keras' floats and as integers."""

from __future__ import annotations

import numpy as np

from wage_tf.errors import UserError
from wage_tf.integer.tensors import Tensor
from wage_tf.integer.weights import codes_of

_FINEST = 24


def targets_of(labels: np.ndarray, count: int, outputs: int) -> np.ndarray:
    """Float32 targets [count, outputs]: one-hot for class numbers, integers [count]; floats are targets as they are.

    Raises:
        UserError: If they are neither.
    """
    if labels.dtype.kind == "f" and labels.shape == (count, outputs):
        return labels.astype(np.float32)
    if labels.shape != (count,) or labels.dtype.kind not in "iu" or not ((labels >= 0) & (labels < outputs)).all():
        raise UserError(
            f"labels: class numbers 0 to {outputs - 1}, integers [{count}], or float targets [{count}, {outputs}]; "
            f"received {labels.dtype} of shape {labels.shape}"
        )
    return np.eye(outputs, dtype=np.float32)[labels]


def as_tensor(targets: np.ndarray) -> Tensor:
    """Float targets as integers, in the coarsest units that hold them.

    Raises:
        UserError: If they are no multiples of 2^-24.
    """
    fraction = next((f for f in range(_FINEST) if not (np.ldexp(targets, f) % 1).any()), _FINEST)
    return Tensor(codes_of(targets, fraction, "targets"), fraction)
