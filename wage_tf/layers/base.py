"""What the layers with a quantized kernel share."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import tensorflow as tf

from wage_tf import ops
from wage_tf.bits import BitWidths
from wage_tf.constraints import ClipToGrid, ClipToRange
from wage_tf.initializers import ClampedUniform, layer_alpha
from wage_tf.quantizers import BIAS_LIMIT, check_alpha, quantize_bias, quantize_weight

_Layer: Any = keras.layers.Layer if TYPE_CHECKING else object


class QuantizedKernel(_Layer):
    """Mixin for a Keras layer with a `kernel`, put before the Keras class; its forward pass uses `quantized_kernel`.

    Adds the arguments `bits`, `beta`, `factor` and `alpha`; the other arguments, by position or by name, are the Keras
    layer's own, of which `use_bias` and the kernel's initializer and constraint default to WAGE's: no bias,
    `ClampedUniform`, `ClipToGrid`. A bias is quantized where W and A have widths, onto the grid of the sums of
    activations times weights, σ(k_A)·σ(k_W)/α, within ±8; with a k_G it is trained by Q_G.

    Attributes:
        bits: BitWidths of the layer. `kernel.bits` repeats it, so that an optimizer knows a quantized kernel.
        alpha: Constant that divides the quantized kernel, a power of two; None until the layer is built.
    """

    kernel_argument: ClassVar[str] = "kernel"
    """How Keras' layer names the kernel in its arguments."""

    default_initializer: ClassVar[type[ClampedUniform]] = ClampedUniform

    def __init__(
        self,
        *args: Any,
        bits: BitWidths | str = "2-8-8-8",
        beta: float | None = None,
        factor: float = 1.0,
        alpha: float | None = None,
        **kwargs: Any,
    ):
        arguments = {**inspect.signature(super().__init__).bind_partial(*args, **kwargs).arguments}
        arguments |= arguments.pop("kwargs", {})
        if arguments.get("lora_rank"):
            self.enable_lora(arguments["lora_rank"])
        self.bits = BitWidths.parse(bits)
        self.beta = beta
        self.factor = factor
        self.alpha = self._given_alpha = None if alpha is None else check_alpha(alpha)
        if self.bits.w is None and alpha not in (None, 1):
            raise ValueError(f"alpha: belongs to quantized weights, {self.bits} has float ones; received {alpha!r}")
        initializer, constraint = f"{self.kernel_argument}_initializer", f"{self.kernel_argument}_constraint"
        arguments.setdefault("use_bias", False)
        if arguments.get(initializer) is None:
            arguments[initializer] = self.default_initializer(self.bits, beta, factor)
        if arguments.get(constraint) is None and self.bits.w is not None:
            arguments[constraint] = ClipToGrid(self.bits.w)
        if arguments.get("bias_constraint") is None and self._has_integer_sums:
            arguments["bias_constraint"] = ClipToRange(BIAS_LIMIT)
        super().__init__(**arguments)
        check_float32(self)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        if self.alpha is None:
            self.alpha = layer_alpha(self.fan_in_shape, self.bits, self.beta, self.factor)
        self.kernel.bits = self.bits
        if self.bias is not None and self._has_integer_sums and self.bits.g is not None:
            self.bias.bits = self.bits

    @property
    def quantized_kernel(self) -> tf.Tensor:
        """Q(W, k_W) / α, the kernel of the forward pass and of the error's backward pass."""
        return quantize_weight(self.kernel, self.bits, self.alpha)

    @property
    def quantized_bias(self) -> tf.Tensor:
        """The bias of the forward pass, on the grid of the sums."""
        return quantize_bias(self.bias, self.bias_step) if self._has_integer_sums else tf.convert_to_tensor(self.bias)

    @property
    def bias_step(self) -> float:
        """σ(k_A)·σ(k_W)/α, the distance of two neighbouring sums of activations on k_A bits times weights.

        With a k_G it is σ(k_G) where that is smaller, so that the bias in use is the one that is trained.
        """
        sums = ops.step_size(self.bits.a) * ops.step_size(self.bits.w) / self.alpha
        return sums if self.bits.g is None else min(sums, ops.step_size(self.bits.g))

    @property
    def fan_in_shape(self) -> tuple[int, ...]:
        """Shape of a kernel whose axes but the last are the inputs of a unit."""
        return tuple(self.kernel.shape)

    @property
    def _has_integer_sums(self) -> bool:
        return self.bits.w is not None and self.bits.a is not None

    def finish(self, outputs: tf.Tensor) -> tf.Tensor:
        """What follows the products: the quantized bias and the activation, where the layer has them."""
        if self.bias is not None:
            last = getattr(self, "data_format", "channels_last") == "channels_last"
            shape = (-1,) if last else (-1, *[1] * (len(outputs.shape) - 2))
            outputs = keras.ops.add(outputs, keras.ops.reshape(self.quantized_bias, shape))
        return outputs if self.activation is None else self.activation(outputs)

    def enable_lora(self, rank: int, **options: Any) -> None:
        """Refuses: a quantized kernel is one tensor of integers, to which low-rank float factors cannot be added."""
        raise ValueError(
            f"lora: {type(self).__name__} has an integer kernel, to which float factors cannot be added; received the "
            f"rank {rank!r} (to adapt a trained network, freeze its layers and train new ones: layer.trainable = False)"
        )

    def get_config(self) -> dict:
        config = {"bits": str(self.bits), "beta": self.beta, "factor": self.factor, "alpha": self._given_alpha}
        return {**super().get_config(), **config}


def check_float32(layer: keras.layers.Layer) -> None:
    """Checks that a layer computes in float32, in which the integers are exact.

    Raises:
        ValueError: If its dtype policy is another, such as mixed precision or one of Keras' own quantization.
    """
    if layer.compute_dtype != "float32" or layer.quantization_mode is not None:
        raise ValueError(
            f"dtype: {layer.name} simulates integers in float32; received the policy {layer.dtype_policy.name!r}: "
            "give dtype='float32', or keras.config.set_dtype_policy('float32')"
        )
