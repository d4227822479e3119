"""IntegerSGD: quantized gradients, integer updates."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

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

    Q_G (`quantizers.quantize_gradient`) applies to the kernels of quantized layers, and to their biases where these are
    integers too. Every other variable, such as a batch-norm scale or the kernel of a float layer, is
    `float_optimizer`'s. The clip is the layer's `kernel_constraint`, which Keras applies after the update. For kernels
    there is no state but the step count, since the random numbers of a step are a function of (seed, step, variable):
    the seed words of the trainable variable v at step t are (seed + 0x9E3779B9·v mod 2^32, t).

    Args:
        learning_rate: η, a power of two or a `keras.optimizers.schedules.LearningRateSchedule` of powers of two.
            The first rate that is not one, or too small to move weights by the size of their gradients, gets a warning,
            here or where a callback sets it. With k_G = f it is the learning rate of plain SGD.
        bits: k_G of every quantized kernel: a width, None or "f" for float32, or a pattern whose G is taken; or a
            mapping from the variables' paths to widths, for layers that differ. Where no path is the variable's, the
            one that ends like it counts: a Sequential that is loaded has lost its name from them.
        seed: Integer; None draws one from Python's generator (`keras.utils.set_random_seed`).
        random_width: Bits of the random integers of the stochastic rounding; 16 in the paper.
        float_optimizer: Optimizer, or its name, of the variables that are not quantized, with a rate and a
            schedule of its own; None for Adam at a rate of 0.01. WAGE's loss is a sum over the batch, and so are its
            gradients: Adam does not depend on their size, where a rate of SGD has to be divided by the batch. Ten times
            Adam's usual rate, because η = 8 moves kernels by up to 11 steps of σ(k_G), 0.09 at k_G = 8, at once.
        name: Name of the optimizer.
        **kwargs: Arguments of `keras.optimizers.Optimizer` for the quantized kernels; those for the other variables
            are `float_optimizer`'s own. `gradient_accumulation_steps` and `loss_scale_factor` hold for both.
            Accumulated gradients are averaged, where WAGE adds them up: the same to Q_G, a smaller rate where k_G = f.

    Raises:
        ValueError: If `bits`, `seed` or `random_width` is out of range; if a mapping lacks a quantized kernel; if
            `float_optimizer` accumulates other steps or scales the loss otherwise; or if `weight_decay` or `use_ema`
            would take stored weights off the update's grid.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1.0,
        bits: int | str | BitWidths | Mapping[str, int | None] | None = 8,
        seed: int | None = None,
        random_width: int = 16,
        float_optimizer: str | dict | keras.optimizers.Optimizer | None = None,
        name: str = "integer_sgd",
        **kwargs: Any,
    ):
        if isinstance(learning_rate, int):
            learning_rate = float(learning_rate)
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.bits: int | dict[str, int | None] | None
        if isinstance(bits, Mapping):
            self.bits = {path: width_of(width, "g") for path, width in bits.items()}
        else:
            self.bits = width_of(bits, "g")
        self.seed = random.randrange(2**31) if seed is None else _check_seed(seed)
        self.random_width = ops.check_random_width(random_width)
        self.float_optimizer = keras.optimizers.get(float_optimizer or keras.optimizers.Adam(0.01))
        for option in ("gradient_accumulation_steps", "loss_scale_factor"):
            _share(option, self, self.float_optimizer)
        self._gradient_bits: list[int | None] = []
        self._positions: list[int] = []
        self._warned: set[str] = set()
        self._warn_of(learning_rate)

    @property
    def learning_rate(self) -> keras.Variable | tf.Tensor:
        """η of the next step. `ReduceLROnPlateau` and its like set this one, not that of `float_optimizer`."""
        return super().learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: float | keras.optimizers.schedules.LearningRateSchedule) -> None:
        keras.optimizers.Optimizer.learning_rate.fset(self, learning_rate)
        self._warn_of(learning_rate)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Looks up the gradient width of every kernel and builds `float_optimizer`; called before the first step."""
        if self.built:
            return
        self._positions = [index for index, variable in enumerate(variables) if hasattr(variable, "bits")]
        kernels = [variables[index] for index in self._positions]
        others = [variable for variable in variables if not hasattr(variable, "bits")]
        self._gradient_bits = [self._bits_of(kernel) for kernel in kernels]
        if isinstance(self.bits, dict):
            self.bits = {kernel.path: bits for kernel, bits in zip(kernels, self._gradient_bits, strict=True)}
        if any(bits is not None for bits in self._gradient_bits) and (self.weight_decay or self.use_ema):
            raise ValueError(
                "weight_decay, use_ema: they would take stored integer weights off the update's grid; "
                f"received weight_decay={self.weight_decay}, use_ema={self.use_ema}"
                " (for float variables, such as batch normalization's, give them to float_optimizer)"
            )
        for kernel in kernels:
            kernel.has_integer_updates = True
        super().build(kernels)
        if others:
            self.float_optimizer.build(others)
            for state in self.float_optimizer.variables:
                self._track_variable(state)

    def apply(
        self, grads: Sequence[tf.Tensor | None], trainable_variables: Sequence[keras.Variable] | None = None
    ) -> None:
        """Makes one step: quantized kernels by Q_G, the other variables by `float_optimizer`."""
        if not self.built and trainable_variables is not None:
            self.build(trainable_variables)
        variables = self._in_order() if trainable_variables is None else trainable_variables
        kernel_gradients, other_gradients = self._split(variables, grads)
        kernels, others = self._split(variables, variables)
        if kernels:
            super().apply(kernel_gradients, kernels)
        else:
            self._iterations.assign_add(1)
        if others:
            self.float_optimizer.apply(other_gradients, others)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Subtracts ΔW from one kernel."""
        self.assign_sub(variable, self.quantized_step(gradient, variable, learning_rate))

    def quantized_step(
        self, gradient: tf.Tensor, variable: keras.Variable | tf.Variable, learning_rate: float | tf.Tensor
    ) -> tf.Tensor:
        """Returns the ΔW that the next step subtracts from the kernel `variable`, given its gradient."""
        index = self._get_variable_index(variable)
        step = tf.cast(tf.convert_to_tensor(self.iterations), tf.int32)
        word = (self.seed + _GOLDEN * self._positions[index]) % _WORD
        seed = tf.stack([np.uint32(word).astype(np.int32), step])
        return quantize_gradient(gradient, self._gradient_bits[index], learning_rate, seed, self.random_width)

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """Puts moving averages in place after training, where an optimizer keeps them; called by `fit`."""
        kernels, others = self._split(var_list, var_list)
        super().finalize_variable_values(kernels)
        if others:
            self.float_optimizer.finalize_variable_values(others)

    def get_config(self) -> dict:
        config = {"bits": self.bits, "seed": self.seed, "random_width": self.random_width}
        float_optimizer = keras.saving.serialize_keras_object(self.float_optimizer)
        return {**super().get_config(), **config, "float_optimizer": float_optimizer}

    def _warn_of(self, learning_rate: float | keras.optimizers.schedules.LearningRateSchedule) -> None:
        """Warns once of a rate that is no power of two, and once of rates that are all too small."""
        rates = [] if self.bits is None else _rates(learning_rate)
        other = next((rate for rate in rates if not _is_power_of_two(rate)), None)
        if other is not None:
            self._warn_once(
                "learning_rate: Q_G wants a power of two (8, 1, 0.125), a shift in hardware; received "
                f"{float(f'{other:.6g}')}; with ReduceLROnPlateau give factor=0.5 or 0.125"
            )
        elif rates and max(rates) * math.sqrt(2) < 2.0**-self.random_width:
            self._warn_once(
                "learning_rate: no weight moves by the size of its gradient, since η·√2 is below "
                f"2^-{self.random_width}, the resolution of the random numbers: take a larger η or random_width; "
                f"received {max(rates)}"
            )

    def _warn_once(self, text: str) -> None:
        kind = text.partition("received")[0]
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(text, stacklevel=5)

    def _in_order(self) -> list[keras.Variable]:
        """Returns the variables that the optimizer was built with."""
        variables = list(self.float_optimizer._trainable_variables)
        for position, kernel in zip(self._positions, self._trainable_variables, strict=True):
            variables.insert(position, kernel)
        return variables

    def _split(self, variables: Sequence[keras.Variable], values: Sequence) -> tuple[list, list]:
        """Returns the values that belong to quantized kernels, and those that belong to other variables."""
        parts: tuple[list, list] = ([], [])
        for variable, value in zip(variables, values, strict=True):
            is_kernel = self._var_key(variable) in self._trainable_variables_indices
            if hasattr(variable, "bits") and not is_kernel:
                raise ValueError(
                    f"IntegerSGD: built without the quantized kernel {variable.path!r}, as after unfreezing a layer "
                    "or loading a .h5 file: compile the model again"
                )
            parts[0 if is_kernel else 1].append(value)
        return parts

    def _bits_of(self, kernel: keras.Variable) -> int | None:
        if not isinstance(self.bits, dict):
            if kernel.bits.g != self.bits:
                warnings.warn(
                    f"IntegerSGD updates {kernel.path} on k_G = {self.bits or 'f'} bits, its layer says {kernel.bits}",
                    stacklevel=2,
                )
            return self.bits
        found = [path for path in self.bits if path == kernel.path] or [
            path for path in self.bits if f"/{path}".endswith(f"/{kernel.path}") or kernel.path.endswith(f"/{path}")
        ]
        if len(found) != 1:
            raise ValueError(f"bits: no width for the kernel {kernel.path!r}; received {sorted(self.bits)}")
        return self.bits[found[0]]


def gradient_bits(model: keras.Model) -> int | dict[str, int | None] | None:
    """Returns k_G of a model's quantized kernels, as `IntegerSGD(bits=...)` takes it: one width, or a mapping.

    Raises:
        ValueError: If the model has not been built, so that it has no kernels yet.
    """
    if not model.built:
        raise ValueError(f"model: has to be built, or called on a batch; received {model.name!r} without weights")
    kernels = {v.path: v.bits.g for v in model.trainable_variables if hasattr(v, "bits")}
    widths = set(kernels.values())
    return widths.pop() if len(widths) == 1 else kernels


def _share(option: str, optimizer: keras.optimizers.Optimizer, other: keras.optimizers.Optimizer) -> None:
    """Gives `other` the option that `optimizer` has."""
    value = getattr(optimizer, option)
    if getattr(other, option) not in (None, value):
        raise ValueError(
            f"{option}: one for all variables, given to IntegerSGD; received {value} there and "
            f"{getattr(other, option)} in float_optimizer"
        )
    setattr(other, option, value)


def _check_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise ValueError(f"seed: an integer, or None to draw one; received {seed!r}")
    return int(seed)


def _rates(learning_rate: Any) -> list[float]:
    """Rates that an optimizer will meet: a schedule's at steps 0, 1, 2, 4, … 2^20 and where it says, its pieces."""
    if isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        sampled = [float(learning_rate(step)) for step in (0, *(2**k for k in range(21)))]
        return [rate for rate in dict.fromkeys([*getattr(learning_rate, "values", ()), *sampled]) if rate != 0]
    return [] if callable(learning_rate) else [float(learning_rate)]


def _is_power_of_two(rate: float) -> bool:
    return rate > 0 and math.frexp(rate)[0] == 0.5
