"""An independent WAGE in NumPy, written from the method's equations: what the tests compare wage_tf with.

It imports neither wage_tf nor TensorFlow. Values are float64; every quantized one is an integer times a power of two
and fits far inside 53 bits, so sums are exact in any order. None stands for a float32 operand throughout.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np


def step_size(k):
    return math.ldexp(1.0, 1 - k)


def limit(k):
    """Largest value of the k-bit grid; the binary grid is {-1, 1}."""
    return 1.0 if k == 1 else 1.0 - step_size(k)


def shift(x):
    """The nearest power of two on a log scale, for one number; the comparison with sqrt(1/2) is in exact fractions."""
    x = float(x)
    if x == 0.0:
        return 0.0
    mantissa, exponent = math.frexp(x)  # x = mantissa * 2^exponent, mantissa in [1/2, 1)
    above = Fraction(mantissa) ** 2 > Fraction(1, 2)  # equality is impossible: sqrt(1/2) is irrational
    return math.ldexp(1.0, exponent if above else exponent - 1)


def quantize(x, k):
    x = np.asarray(x, np.float64)
    if k == 1:
        return np.where(x < 0, -1.0, 1.0)
    sigma = step_size(k)
    return np.clip(np.rint(x / sigma) * sigma, -1.0 + sigma, 1.0 - sigma)


def scale_by_shift(x):
    x = np.asarray(x, np.float64)
    largest = np.max(np.abs(x)) if x.size else 0.0
    return np.zeros_like(x) if largest == 0 else x / shift(largest)


def quantize_weight(w, k, alpha):
    return np.asarray(w, np.float64) if k is None else quantize(w, k) / alpha


def quantize_activation(a, k):
    return np.asarray(a, np.float64) if k is None else quantize(a, k)


def activation_backward(upstream, a, k):
    return upstream if k is None else np.where(np.abs(a) <= limit(k), upstream, 0.0)


def error_backward(e, k):
    """Q_E with the factor Shift, which the paper leaves out: in a chain it changes no code."""
    if k is None:
        return np.asarray(e, np.float64)
    largest = np.max(np.abs(e)) if np.size(e) else 0.0
    return quantize(scale_by_shift(e), k) * (shift(largest) or 1.0)


def mix(h):
    """The 32-bit mixing function of the generator, on an array of uint32."""
    h = np.asarray(h, np.uint32).reshape(-1)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B)
    return h ^ (h >> np.uint32(16))


def random_bits(shape, seed, width=16):
    first, second = (np.uint32(word % 2**32) for word in seed)
    index = np.arange(math.prod(shape), dtype=np.uint32)
    word = mix(mix(index ^ mix(first)) ^ mix(second ^ np.uint32(0x9E3779B9)))
    return (word >> np.uint32(32 - width)).astype(np.int64).reshape(shape)


def stochastic_round(x, seed, width=16):
    x = np.asarray(x, np.float64)
    whole = np.floor(np.abs(x))
    fraction = np.abs(x) - whole
    return np.sign(x) * (whole + (random_bits(x.shape, seed, width) < fraction * 2**width))


def quantize_gradient(g, k, learning_rate, seed, width=16):
    if k is None:
        return learning_rate * np.asarray(g, np.float64)
    return step_size(k) * stochastic_round(learning_rate * scale_by_shift(g), seed, width)


def variable_seed(seed, variable, step):
    """Seed words of one variable at one step."""
    return (seed + 0x9E3779B9 * variable) % 2**32, step


def fan_in_limit(shape, factor=1.0):
    return math.sqrt(3.0 * factor / math.prod(shape[:-1]))


def grid_limit(k, beta=None):
    """Lmin = beta * sigma(k); beta 1.5 for the grids {-1, 1} and {-1/2, 0, 1/2}, then doubling with every bit."""
    return (beta or (1.5 if k <= 2 else 1.5 * 2 ** (k - 2))) * step_size(k)


def layer_alpha(shape, k, beta=None, factor=1.0):
    return 1.0 if k is None else max(shift(grid_limit(k, beta) / fan_in_limit(shape, factor)), 1.0)


def initial_weights(shape, k, seed):
    """Clamped uniform weights from the oracle's own generator, on the k-bit grid; float32."""
    bound = fan_in_limit(shape) if k is None else max(fan_in_limit(shape), grid_limit(k))
    uniform = bound * (random_bits(shape, (seed, 12345)) / 2.0**15 - 1.0)
    return (uniform if k is None else quantize(uniform, k)).astype(np.float32)


def relu(x):
    return np.maximum(x, 0.0)


def max_pool(x):
    """2x2 max pooling without padding. Returns the maxima and each window's winner, the first in row-major order."""
    batch, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    windows = x.reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 5, 2, 4)
    windows = windows.reshape(*windows.shape[:4], 4)
    return windows.max(axis=-1), windows.argmax(axis=-1)


def max_pool_backward(upstream, winner, input_shape):
    gradient = np.zeros(input_shape)
    batch, row, column, channel = np.indices(winner.shape)
    gradient[batch, 2 * row + winner // 2, 2 * column + winner % 2, channel] = upstream
    return gradient


def _padding(size, kernel, stride, padding):
    """Zeros before and after one dimension; for "same" the odd one goes after."""
    if padding == "valid":
        return 0, 0
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _columns(x, kernel_shape, stride, padding):
    rows, columns = (_padding(x.shape[1 + d], kernel_shape[d], stride, padding) for d in range(2))
    padded = np.pad(x, ((0, 0), rows, columns, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel_shape[:2], axis=(1, 2))[:, ::stride, ::stride]
    windows = windows.transpose(0, 1, 2, 4, 5, 3)  # batch, row, column, kernel row, kernel column, channel
    return windows.reshape(*windows.shape[:3], -1), padded.shape, (rows[0], columns[0])


def conv2d(x, kernel, stride=1, padding="valid"):
    columns, _, _ = _columns(np.asarray(x, np.float64), kernel.shape, stride, padding)
    return columns @ kernel.reshape(-1, kernel.shape[-1])


def conv2d_backward(upstream, x, kernel, stride=1, padding="valid"):
    """Gradients of the input and of the kernel."""
    columns, padded_shape, (top, left) = _columns(np.asarray(x, np.float64), kernel.shape, stride, padding)
    outputs = kernel.shape[-1]
    flat = upstream.reshape(-1, outputs)
    kernel_gradient = (columns.reshape(len(flat), -1).T @ flat).reshape(kernel.shape)
    patches = (upstream @ kernel.reshape(-1, outputs).T).reshape(*upstream.shape[:3], *kernel.shape[:3])
    padded = np.zeros(padded_shape)
    rows, columns = upstream.shape[1:3]
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            target = padded[:, i : i + rows * stride : stride, j : j + columns * stride : stride]
            target += patches[:, :, :, i, j]
    return padded[:, top : top + x.shape[1], left : left + x.shape[2]], kernel_gradient


def sum_squared_error(y, t):
    return 0.5 * np.sum((y - t) ** 2)


@dataclasses.dataclass
class Block:
    """A matmul with what follows it: [2x2 pooling], then "relu" (with Q_A, Q_E), "error" (Q_E) or "clip" (Q_A, Q_E)."""

    shape: tuple
    tail: str = "relu"
    padding: str = "valid"
    pool: bool = False


class Network:
    """One stack of blocks and its training step.

    Args:
        blocks: Blocks, input first; a 4-D shape is a convolution, a 2-D shape a dense layer behind a flattening.
        widths: (kW, kA, kG, kE).
        colour: Whether pixels go to x/128 - 1, else x/256.
        seed: Seed of the stochastic rounding.
        random_width: Bits of its random integers.
    """

    def __init__(self, blocks, widths, colour=False, seed=0, random_width=16):
        self.blocks = blocks
        self.k_w, self.k_a, self.k_g, self.k_e = widths
        self.colour = colour
        self.seed = seed
        self.random_width = random_width
        self.step = 0
        self.alphas = [layer_alpha(block.shape, self.k_w) for block in blocks]
        self.weights = [initial_weights(b.shape, self.k_w, i).astype(np.float64) for i, b in enumerate(blocks)]

    def forward(self, pixels):
        """Returns the scores; keeps what the backward pass needs, and the activations of every block."""
        a = pixels / 128.0 - 1.0 if self.colour else pixels / 256.0
        a = quantize_activation(a, self.k_a)
        self._saved, self.activations = [], [a]
        for block, weight, alpha in zip(self.blocks, self.weights, self.alphas, strict=True):
            saved = {"kernel": quantize_weight(weight, self.k_w, alpha), "input_shape": a.shape}
            if len(block.shape) == 2:
                a = a.reshape(len(a), -1)
            saved["input"] = a
            convolves = len(block.shape) == 4
            a = conv2d(a, saved["kernel"], padding=block.padding) if convolves else a @ saved["kernel"]
            if block.pool:
                saved["pool_shape"] = a.shape
                a, saved["winner"] = max_pool(a)
            saved["pre"] = a
            if block.tail == "relu":
                a = quantize_activation(relu(a), self.k_a)
            elif block.tail == "clip":
                a = quantize_activation(a, self.k_a)
            self._saved.append(saved)
            self.activations.append(a)
        return a

    def backward(self, error):
        """Returns the weight gradients for an error of the scores; keeps the quantized errors of every block."""
        gradients, self.errors = [], []
        for block, saved in zip(reversed(self.blocks), reversed(self._saved), strict=True):
            pre = saved["pre"]
            if block.tail == "relu":
                error = error.reshape(pre.shape)
                error = error_backward(activation_backward(error, relu(pre), self.k_a), self.k_e)
                error = np.where(pre > 0, error, 0.0)
            elif block.tail == "clip":
                error = activation_backward(error_backward(error, self.k_e), pre, self.k_a)
            else:
                error = error_backward(error, self.k_e)
            self.errors.insert(0, error)
            if block.pool:
                error = max_pool_backward(error, saved["winner"], saved["pool_shape"])
            if len(block.shape) == 4:
                error, gradient = conv2d_backward(error, saved["input"], saved["kernel"], padding=block.padding)
            else:
                error, gradient = error @ saved["kernel"].T, saved["input"].T @ error
                error = error.reshape(saved["input_shape"])
            gradients.insert(0, gradient)
        return gradients

    def train_step(self, pixels, targets, learning_rate):
        """Forward, backward and update; returns the loss before the update."""
        scores = self.forward(pixels)
        gradients = self.backward(scores - targets)
        for index, gradient in enumerate(gradients):
            seed = variable_seed(self.seed, index, self.step)
            delta = quantize_gradient(gradient, self.k_g, learning_rate, seed, self.random_width)
            self.weights[index] = self.weights[index] - delta
            if self.k_w is not None:
                self.weights[index] = np.clip(self.weights[index], -limit(self.k_w), limit(self.k_w))
        self.step += 1
        return sum_squared_error(scores, targets)


class ResidualNetwork:
    """A convolution, a residual block of two, the average over all positions, a dense layer with Q_E behind it.

    The block's sum is not quantized; ReLU, Q_A and Q_E follow it. The average has Q_A and Q_E without ReLU.

    Args:
        widths: (kW, kA, kG, kE).
        channels: Channels of the images and of the convolutions.
        classes: Number of outputs.
        seed: Seed of the stochastic rounding.
    """

    def __init__(self, widths, channels=(3, 4), classes=10, seed=0):
        self.k_w, self.k_a, self.k_g, self.k_e = widths
        colours, filters = channels
        hidden = (3, 3, filters, filters)
        self.shapes = [(3, 3, colours, filters), hidden, hidden, (filters, classes)]
        self.alphas = [layer_alpha(shape, self.k_w) for shape in self.shapes]
        self.weights = [initial_weights(s, self.k_w, i).astype(np.float64) for i, s in enumerate(self.shapes)]
        self.seed, self.step = seed, 0

    def train_step(self, pixels, targets, learning_rate):
        """Forward, backward and update; returns the scores before the update."""
        k = [quantize_weight(w, self.k_w, alpha) for w, alpha in zip(self.weights, self.alphas, strict=True)]
        a0 = quantize_activation(pixels / 128.0 - 1.0, self.k_a)
        p1 = conv2d(a0, k[0], padding="same")
        a1 = quantize_activation(relu(p1), self.k_a)
        p2 = conv2d(a1, k[1], padding="same")
        a2 = quantize_activation(relu(p2), self.k_a)
        p3 = conv2d(a2, k[2], padding="same") + a1
        a3 = quantize_activation(relu(p3), self.k_a)
        average = a3.mean(axis=(1, 2))
        a4 = quantize_activation(average, self.k_a)
        scores = a4 @ k[3]

        e4 = error_backward(scores - targets, self.k_e)
        e = error_backward(activation_backward(e4 @ k[3].T, average, self.k_a), self.k_e)
        area = a3.shape[1] * a3.shape[2]
        e3 = self._through_relu(np.broadcast_to(e[:, None, None], a3.shape) / area, p3)
        e, g2 = conv2d_backward(e3, a2, k[2], padding="same")
        e2 = self._through_relu(e, p2)
        e, g1 = conv2d_backward(e2, a1, k[1], padding="same")
        e1 = self._through_relu(e + e3, p1)
        _, g0 = conv2d_backward(e1, a0, k[0], padding="same")
        for index, gradient in enumerate((g0, g1, g2, a4.T @ e4)):
            seed = variable_seed(self.seed, index, self.step)
            updated = self.weights[index] - quantize_gradient(gradient, self.k_g, learning_rate, seed)
            self.weights[index] = np.clip(updated, -limit(self.k_w), limit(self.k_w))
        self.step += 1
        return scores

    def _through_relu(self, error, pre):
        error = error_backward(activation_backward(error, relu(pre), self.k_a), self.k_e)
        return np.where(pre > 0, error, 0.0)


def lenet5(widths, input_shape, num_classes, channels=(32, 64), units=512, **kwargs):
    """Two VALID 5x5 convolutions with pooling, a hidden dense layer, outputs with Q_A and Q_E."""
    side = ((input_shape[0] - 4) // 2 - 4) // 2
    blocks = [
        Block((5, 5, input_shape[2], channels[0]), pool=True),
        Block((5, 5, channels[0], channels[1]), pool=True),
        Block((side * side * channels[1], units)),
        Block((units, num_classes), tail="clip"),
    ]
    return Network(blocks, widths, colour=input_shape[2] != 1, **kwargs)


def vgg7(widths, input_shape, num_classes, channels=(128, 256, 512), units=1024, **kwargs):
    """Three pairs of SAME 3x3 convolutions, pooling behind each pair, a hidden dense layer, outputs with Q_E only."""
    blocks, inputs = [], input_shape[2]
    for outputs in channels:
        blocks.append(Block((3, 3, inputs, outputs), padding="same"))
        blocks.append(Block((3, 3, outputs, outputs), padding="same", pool=True))
        inputs = outputs
    side = input_shape[0] // 8
    blocks += [Block((side * side * inputs, units)), Block((units, num_classes), tail="error")]
    return Network(blocks, widths, colour=input_shape[2] != 1, **kwargs)


def mlp(widths, input_shape, num_classes, units=(512, 512), **kwargs):
    """Two hidden dense layers, outputs with Q_A and Q_E."""
    sizes = [math.prod(input_shape), *units]
    blocks = [Block(shape) for shape in itertools.pairwise(sizes)]
    blocks.append(Block((sizes[-1], num_classes), tail="clip"))
    return Network(blocks, widths, colour=input_shape[2] != 1, **kwargs)
