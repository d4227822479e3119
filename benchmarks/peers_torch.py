"""VGG7 in PyTorch, float32 and WAGE 2-8-8-8, written from the equations, to be timed against this library.

The quantizers work in place where autograd allows it, ReLU, Q_A and Q_E of a hidden layer are one autograd function
that keeps a byte per element, and tensors are in channels-last memory, the faster layout on CPUs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_CLOSED, _OPEN, _SATURATED = 0, 1, 2
_POOLED = {1, 3, 5}
_ETA = 8.0
Random = Callable[[Tensor, int], Tensor]


def quantize(x: Tensor, k: int) -> Tensor:
    """Q(x, k) in a new tensor: round half to even on the grid of σ = 2^(1−k), clipped to ±(1 − σ)."""
    scale = 2.0 ** (k - 1)
    return (x * scale).round_().clamp_(1 - scale, scale - 1).mul_(1 / scale)


def shift(x: Tensor) -> Tensor:
    """The nearest power of two on a log scale of a scalar tensor; 1 for 0, so that one can divide by it."""
    mantissa, exponent = torch.frexp(x)
    power = torch.ldexp(torch.ones_like(x), exponent - (mantissa <= math.sqrt(0.5)).int())
    return torch.where(x == 0, torch.ones_like(x), power)


def largest(x: Tensor) -> Tensor:
    """max|x| over the whole tensor, without a copy of it."""
    low, high = torch.aminmax(x)
    return torch.maximum(-low, high)


def quantized_error(error: Tensor, k: int) -> Tensor:
    """Q_E: Q(e / Shift(max|e|), k)."""
    scale = 2.0 ** (k - 1)
    return (error * (scale / shift(largest(error)))).round_().clamp_(1 - scale, scale - 1).mul_(1 / scale)


def gradient_step(gradient: Tensor, eta: float, k: int, random: Tensor) -> Tensor:
    """Q_G: the integer update, rounded up where a 16-bit random integer is below the fraction's 2^16-fold."""
    scaled = gradient * (eta / shift(largest(gradient)))
    magnitude = scaled.abs()
    floor = magnitude.floor()
    carry = random < magnitude.sub_(floor).mul_(65536.0)
    return floor.add_(carry).mul_(2.0 ** (1 - k)).copysign_(scaled)


class QuantizeWeight(torch.autograd.Function):
    """Q_W: Q(W, k)/α forward, straight through backward."""

    @staticmethod
    def forward(ctx: object, w: Tensor, k: int, alpha: float) -> Tensor:
        return quantize(w, k).mul_(1 / alpha)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient, None, None


class HiddenActivation(torch.autograd.Function):
    """ReLU, Q_E and Q_A: forward Q(max(x, 0), k_A); backward Q_A's mask, Q_E, ReLU's mask."""

    @staticmethod
    def forward(ctx: object, x: Tensor, k_a: int, k_e: int) -> Tensor:
        activation, gate = hidden_forward(x, k_a)
        ctx.save_for_backward(gate)
        ctx.k_e = k_e
        return activation

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, None, None]:
        (gate,) = ctx.saved_tensors
        return hidden_backward(gradient, gate, ctx.k_e), None, None


def hidden_forward(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Activations, and a byte per element that says which gradients pass."""
    largest_value = 1 - 2.0 ** (1 - k)
    gate = (x > 0).view(torch.int8).add_((x > largest_value).view(torch.int8))
    scale = 2.0 ** (k - 1)
    return (x * scale).round_().clamp_(0, scale - 1).mul_(1 / scale), gate


def hidden_backward(gradient: Tensor, gate: Tensor, k: int) -> Tensor:
    """Errors on the k-bit grid behind an activation."""
    unsaturated = torch.where(gate == _SATURATED, 0.0, gradient)
    scale = 2.0 ** (k - 1)
    factor = scale / shift(largest(unsaturated))
    error = unsaturated.mul_(factor).round_().clamp_(1 - scale, scale - 1).mul_(1 / scale)
    return error.masked_fill_(gate == _CLOSED, 0.0)


class ErrorQuantizer(torch.autograd.Function):
    """Q_E after the last layer: the identity, whose backward pass quantizes."""

    @staticmethod
    def forward(ctx: object, x: Tensor, k: int) -> Tensor:
        ctx.k = k
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, None]:
        return quantized_error(gradient, ctx.k), None


class Vgg7:
    """VGG7's training step on one batch.

    Args:
        kernels: Stored weights in Keras' layout: six of [3, 3, in, out], two of [in, out].
        alphas: Layer constants; None for the float32 network with plain SGD.
        compiled: Whether torch.compile fuses the quantizers.
    """

    def __init__(self, kernels: Sequence[np.ndarray], alphas: Sequence[float] | None, compiled: bool = False):
        self.alphas = alphas
        self.kernels = [torch.from_numpy(_to_torch(kernel)).contiguous() for kernel in kernels]
        self.kernels = [_channels_last(kernel).requires_grad_() for kernel in self.kernels]
        if compiled:
            _compile_quantizers()

    def scores(self, pixels: Tensor) -> Tensor:
        """Outputs [batch, 10] for uint8 pixels [batch, 3, 32, 32]."""
        x = pixels.float().mul_(1 / 128).sub_(1.0)
        if self.alphas:
            x = quantize(x, 8)
        x = _channels_last(x)
        for i in range(6):
            x = functional.conv2d(x, self._weight(i), padding=1)
            if i in _POOLED:
                x = functional.max_pool2d(x, 2)
            x = self._activation(x)
        x = self._activation(x.permute(0, 2, 3, 1).flatten(1) @ self._weight(6))
        x = x @ self._weight(7)
        return ErrorQuantizer.apply(x, 8) if self.alphas else x

    def step(self, pixels: Tensor, targets: Tensor, random: Random | None = None) -> float:
        """Trains on one batch; returns the loss ½Σ(y − t)².

        Args:
            pixels: uint8 [batch, 3, 32, 32].
            targets: float32 one-hot [batch, 10].
            random: 16-bit random integers as float32 in the shape of a gradient and the kernel's number; None
                takes PyTorch's own generator.
        """
        random = random or _random
        loss = 0.5 * (self.scores(pixels) - targets).square().sum()
        gradients = torch.autograd.grad(loss, self.kernels)
        with torch.no_grad():
            for i, (kernel, gradient) in enumerate(zip(self.kernels, gradients, strict=True)):
                if self.alphas:
                    kernel.sub_(gradient_step(gradient, _ETA, 8, random(gradient, i))).clamp_(-0.5, 0.5)
                else:
                    kernel.sub_(gradient, alpha=2**-11)
        return loss.item()

    def codes(self) -> list[np.ndarray]:
        """Stored weights in Keras' layout."""
        return [_from_torch(kernel.detach().numpy()) for kernel in self.kernels]

    def _weight(self, i: int) -> Tensor:
        return QuantizeWeight.apply(self.kernels[i], 2, self.alphas[i]) if self.alphas else self.kernels[i]

    def _activation(self, x: Tensor) -> Tensor:
        return HiddenActivation.apply(x, 8, 8) if self.alphas else x.relu_()


def _compile_quantizers() -> None:
    """Replaces the passes over memory by kernels that torch.compile fuses; convolutions stay as they are."""
    torch._dynamo.config.recompile_limit = 64
    for name in ("hidden_forward", "hidden_backward", "gradient_step", "quantize"):
        globals()[name] = torch.compile(globals()[name], dynamic=False)


def _random(like: Tensor, _: int) -> Tensor:
    return torch.randint_like(like, 65536)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _to_torch(kernel: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)) if kernel.ndim == 4 else kernel


def _from_torch(kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel
