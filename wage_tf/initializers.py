"""Initial weights of a quantized layer, and the layer's constant α that goes with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from wage_tf import ops
from wage_tf.bits import BitWidths


def fan_in(shape: Sequence[int]) -> int:
    """Inputs of one output unit: the product of all kernel dimensions but the last."""
    return math.prod(shape[:-1])


def fan_in_limit(shape: Sequence[int], factor: float = 1.0) -> float:
    """L0 = √(3·factor / n_in), the limit of a uniform distribution that keeps the signal's variance (paper, eq. 8).

    Args:
        shape: Shape of the kernel, output units last.
        factor: 1 in the authors' code, 2 in the paper.

    Raises:
        ValueError: If `factor` is not positive.
    """
    if not factor > 0:
        raise ValueError(f"factor: a positive number, 1 in the authors' code and 2 in the paper; received {factor!r}")
    return math.sqrt(3.0 * factor / fan_in(shape))


def grid_limit(k: int, beta: float | None = None) -> float:
    """Lmin = β·σ(k), the smallest limit at which enough weights reach the first step of the grid (paper, eq. 8).

    Args:
        k: Bit width of the weights.
        beta: β; 1.5 in the paper, meant for k = 2. None scales it so that Lmin is 0.75 at every k ≥ 2
            (β = 1.5·2^(k−2)): the weights keep their range against the update's grid, and wide weights train too.
            Binary weights, ±1 where ternary ones are ±0.5, keep the paper's β: at 0.75 α would be half of what their
            size needs, activations saturate and training stands still.

    Raises:
        ValueError: If `beta` is not positive.
    """
    if beta is None:
        beta = 1.5 * max(1.0, 2.0 ** (k - 2))
    if not beta > 0:
        raise ValueError(f"beta: a positive number, 1.5 in the paper, or None; received {beta!r}")
    return beta * ops.step_size(k)


def layer_alpha(shape: Sequence[int], bits: BitWidths | str, beta: float | None = None, factor: float = 1.0) -> float:
    """The layer's constant α = max(Shift(Lmin / L0), 1), a power of two; 1 for float weights (paper, eq. 9).

    Args:
        shape: Shape of the kernel, output units last.
        bits: Pattern of the layer.
        beta: See `grid_limit`.
        factor: See `fan_in_limit`: 1 in the authors' code, 2 in the paper.
    """
    k = BitWidths.parse(bits).w
    if k is None:
        return 1.0
    return max(nearest_power_of_two(grid_limit(k, beta) / fan_in_limit(shape, factor)), 1.0)


def nearest_power_of_two(x: float) -> float:
    """Shift(x) of `ops.shift` for one positive number, in Python: Keras may build a layer while it traces a graph.

    Args:
        x: A positive finite number.

    Raises:
        ValueError: If `x` is another.
    """
    if not 0 < x < math.inf:
        raise ValueError(f"x: a positive finite number; received {x!r}")
    mantissa, exponent = math.frexp(x)
    return math.ldexp(1.0, exponent if mantissa >= math.sqrt(0.5) else exponent - 1)


@keras.saving.register_keras_serializable(package="wage_tf")
class ClampedUniform(keras.initializers.Initializer):
    """W ~ U(−L, L) with L = max(L0, Lmin), quantized once to the k_W-bit grid (paper, eq. 8).

    With float weights it is U(−L0, L0), unquantized.

    Args:
        bits: Pattern of the layer.
        beta: See `grid_limit`.
        factor: See `fan_in_limit`: 1 in the authors' code, 2 in the paper.
        seed: Integer; None draws from Keras' global seed.
    """

    def __init__(
        self, bits: BitWidths | str = "2-8-8-8", beta: float | None = None, factor: float = 1.0, seed: int | None = None
    ):
        self.bits = BitWidths.parse(bits)
        self.beta = beta
        self.factor = factor
        self.seed = seed
        self._generator = keras.random.SeedGenerator() if seed is None else seed

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> tf.Tensor:
        """Returns a float32 tensor of `shape`; `dtype` is accepted for Keras and must be float32."""
        if dtype is not None and keras.backend.standardize_dtype(dtype) != "float32":
            raise ValueError(f"dtype: quantized kernels are simulated in float32; received {dtype!r}")
        limit = fan_in_limit(shape, self.factor)
        k = self.bits.w
        if k is not None:
            limit = max(limit, grid_limit(k, self.beta))
        with tf.init_scope():  # a layer may be built inside of a traced step: its weights are a constant there
            weights = keras.random.uniform(shape, -limit, limit, dtype="float32", seed=self._generator)
            weights = weights if k is None else ops.quantize(weights, k)
        return tf.constant(weights.numpy())

    def get_config(self) -> dict:
        return {"bits": str(self.bits), "beta": self.beta, "factor": self.factor, "seed": self.seed}


@keras.saving.register_keras_serializable(package="wage_tf")
class DepthwiseUniform(ClampedUniform):
    """`ClampedUniform` for a depthwise kernel [height, width, channels, multiplier], whose fan-in is height × width.

    Args:
        bits: BitWidths or pattern of the layer.
        beta: See `grid_limit`.
        factor: See `fan_in_limit`: 1 in the authors' code, 2 in the paper.
        seed: Integer; None draws from Keras' global seed.
    """

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> tf.Tensor:
        """Returns a float32 tensor of `shape`."""
        height, width, channels, multiplier = shape
        return tf.reshape(super().__call__((height, width, 1, channels * multiplier), dtype), shape)
