"""The range of stored weights, kept by Keras after every update."""

from __future__ import annotations

import warnings

import keras
import tensorflow as tf

from wage_tf import ops
from wage_tf.fusion import fused


@keras.saving.register_keras_serializable(package="wage_tf")
class ClipToGrid(keras.constraints.Constraint):
    """Clips a kernel to the range of the k-bit grid: W ← clip(W, ±(1 − σ(k))) (paper, eq. 16).

    The authors' code, and the default of the layers, takes k = k_W: ±0.5 for ternary weights. The paper prints
    k = k_G: pass `kernel_constraint=ClipToGrid(8)` to a layer.

    Args:
        bits: k, at least 1.

    Raises:
        ValueError: If `bits` is not a positive integer.
    """

    def __init__(self, bits: int):
        ops.step_size(bits)
        self.bits = bits

    def __call__(self, value: keras.Variable | tf.Tensor) -> tf.Tensor:
        """Returns the clipped kernel; Keras' optimizers pass the variable itself after they updated it."""
        _warn_of_float_updates(value)
        return _clip(value, k=self.bits)

    def get_config(self) -> dict:
        return {"bits": self.bits}


@keras.saving.register_keras_serializable(package="wage_tf")
class ClipToRange(keras.constraints.Constraint):
    """Clips a bias to ±`limit`.

    Args:
        limit: A positive number.

    Raises:
        ValueError: If it is not.
    """

    def __init__(self, limit: float):
        if not limit > 0:
            raise ValueError(f"limit: a positive number; received {limit!r}")
        self.limit = float(limit)

    def __call__(self, value: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(tf.convert_to_tensor(value), -self.limit, self.limit)

    def get_config(self) -> dict:
        return {"limit": self.limit}


def _warn_of_float_updates(value: keras.Variable | tf.Tensor) -> None:
    """Warns where an optimizer other than IntegerSGD, which marks its kernels, updates one that has a k_G.

    A layer does not see its model's optimizer: here they meet. It costs nothing in a compiled step.
    """
    bits = getattr(value, "bits", None)
    if bits is not None and bits.g is not None and not getattr(value, "has_integer_updates", False):
        warnings.warn(
            f"k_G = {bits.g} is ignored: this optimizer updates kernels of {bits} in float32. Compile with "
            f"wage_tf.optimizers.IntegerSGD, or say so in the pattern: bits='{bits.replace(g=None)}'",
            stacklevel=2,
        )


@fused
def _clip(value: tf.Tensor, *, k: int) -> tf.Tensor:
    return ops.clip(value, k)
