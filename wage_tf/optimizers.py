"""IntegerSGD: quantized gradients, integer updates."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from wage_tf import ops
from wage_tf.bits import BitWidths, width_of
from wage_tf.quantizers import quantize_gradient

_WORD = 2**32
_GOLDEN = 0x9E3779B9


@keras.saving.register_keras_serializable(package="wage_tf")
class IntegerSGD(keras.optimizers.Optimizer):
    """W ← clip(W − ΔW) with ΔW = Q_G(g) on the k_G-bit grid: no momentum, no weight decay (paper, eq. 13 to 16).

    Q_G (`quantizers.quantize_gradient`) applies to the kernels of quantized layers; every other variable, such as a
    bias or a batch-norm scale, gets plain SGD with the same learning rate. The clip is the layer's
    `kernel_constraint`, which Keras applies after the update. There is no state but the step count, since the random
    numbers of a step are a function of (seed, step, variable): the seed words of variable v at step t are
    (seed + 0x9E3779B9·v mod 2^32, t).

    Args:
        learning_rate: η, a power of two or a `keras.optimizers.schedules.LearningRateSchedule` of powers of two;
            a number that is not one gets a warning. With k_G = f it is the learning rate of plain SGD.
        bits: k_G of every quantized kernel: a width, None or "f" for float32, or a pattern whose G is taken; or a
            mapping from the variables' paths to widths, for layers that differ.
        seed: Integer; None draws one from Python's generator (`keras.utils.set_random_seed`).
        random_width: Bits of the random integers of the stochastic rounding; 16 in the paper.
        name: Name of the optimizer.
        **kwargs: Arguments of `keras.optimizers.Optimizer`. `gradient_accumulation_steps` averages the gradients of
            its steps, where WAGE adds them up: the same to Q_G, a smaller rate where k_G = f.

    Raises:
        ValueError: If `bits`, `seed` or `random_width` is out of range; if a mapping lacks a quantized kernel; or if
            `weight_decay` or `use_ema` would take stored weights off the update's grid.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1.0,
        bits: int | str | BitWidths | Mapping[str, int | None] | None = 8,
        seed: int | None = None,
        random_width: int = 16,
        name: str = "integer_sgd",
        **kwargs: object,
    ):
        if isinstance(learning_rate, int):
            learning_rate = float(learning_rate)
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        if isinstance(bits, Mapping):
            self.bits = {path: width_of(width, "g") for path, width in bits.items()}
        else:
            self.bits = width_of(bits, "g")
        self.seed = random.randrange(2**31) if seed is None else _check_seed(seed)
        self.random_width = ops.check_random_width(random_width)
        self._gradient_bits: list[int | None] = []
        if self.bits is not None and isinstance(learning_rate, float):
            warn_unless_power_of_two(learning_rate)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Looks up the gradient width of every variable; called by Keras before the first step."""
        if self.built:
            return
        self._gradient_bits = [self._bits_of(variable) for variable in variables]
        if any(bits is not None for bits in self._gradient_bits) and (self.weight_decay or self.use_ema):
            raise ValueError(
                "weight_decay, use_ema: they would take stored integer weights off the update's grid; "
                f"received weight_decay={self.weight_decay}, use_ema={self.use_ema}"
            )
        super().build(variables)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Subtracts ΔW from one variable."""
        self.assign_sub(variable, self.quantized_step(gradient, variable, learning_rate))

    def quantized_step(
        self, gradient: tf.Tensor, variable: keras.Variable | tf.Variable, learning_rate: float | tf.Tensor
    ) -> tf.Tensor:
        """Returns the ΔW that the next step subtracts from `variable`, given its gradient."""
        index = self._get_variable_index(variable)
        step = tf.cast(tf.convert_to_tensor(self.iterations), tf.int32)
        word = (self.seed + _GOLDEN * index) % _WORD
        seed = tf.stack([np.uint32(word).astype(np.int32), step])
        return quantize_gradient(gradient, self._gradient_bits[index], learning_rate, seed, self.random_width)

    def get_config(self) -> dict:
        config = {"bits": self.bits, "seed": self.seed, "random_width": self.random_width}
        return {**super().get_config(), **config}

    def _bits_of(self, variable: keras.Variable) -> int | None:
        layer_bits = getattr(variable, "bits", None)
        if layer_bits is None:
            return None
        if not isinstance(self.bits, dict):
            if layer_bits.g != self.bits:
                warnings.warn(
                    f"IntegerSGD updates {variable.path} on k_G = {self.bits or 'f'} bits, its layer says {layer_bits}",
                    stacklevel=2,
                )
            return self.bits
        if variable.path not in self.bits:
            raise ValueError(f"bits: no width for the kernel {variable.path!r}; received {sorted(self.bits)}")
        return self.bits[variable.path]


def gradient_bits(model: keras.Model) -> int | dict[str, int | None] | None:
    """Returns k_G of a model's quantized kernels, as `IntegerSGD(bits=...)` takes it: one width, or a mapping."""
    kernels = {v.path: v.bits.g for v in model.trainable_variables if hasattr(v, "bits")}
    widths = set(kernels.values())
    return widths.pop() if len(widths) == 1 else kernels


def _check_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise ValueError(f"seed: an integer, or None to draw one; received {seed!r}")
    return int(seed)


def warn_unless_power_of_two(learning_rate: float) -> None:
    """Warns that an integer machine cannot multiply by `learning_rate` with a shift, where it is no power of two."""
    if learning_rate <= 0 or np.frexp(learning_rate)[0] != 0.5:
        warnings.warn(
            f"learning_rate: Q_G wants a power of two (8, 1, 0.125), a shift in hardware; received {learning_rate}",
            stacklevel=3,
        )
