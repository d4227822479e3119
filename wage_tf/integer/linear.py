"""Products, convolutions and pooling of integer arrays, forward and backward; images are [batch, h, w, channels].

Operands are the codes as they are stored (int8 or int16); sums are accumulated in int32 where
max|a|·max|b|·terms shows that they fit, else in int64.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from wage_tf.integer.arithmetic import code_dtype, magnitude

Pair = tuple[int, int]


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sums of products a[m, k]·b[n, k] over k: int32 or int64 [m, n]."""
    dtype = np.result_type(np.int32, code_dtype(magnitude(a) * magnitude(b) * a.shape[1]))
    a, b = (np.ascontiguousarray(x, dtype) for x in (a, b))
    return np.einsum("mk,nk->mn", a, b)


def output_size(size: int, window: int, stride: int, padding: str) -> int:
    """Positions of a window along one axis; 0 where a VALID window does not fit."""
    return -(-size // stride) if padding == "same" else max(0, (size - window) // stride + 1)


def same_padding(size: int, window: int, stride: int, padding: str) -> Pair:
    """Rows added before and after along one axis, TensorFlow's rule: the odd one comes after."""
    if padding == "valid":
        return 0, 0
    total = max((output_size(size, window, stride, padding) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


@dataclasses.dataclass(frozen=True)
class Window:
    """A window that moves over an image; `padding` is "same" or "valid", `dilation` the distance of its taps."""

    size: Pair
    strides: Pair
    padding: str
    dilation: Pair = (1, 1)

    @property
    def span(self) -> Pair:
        """Rows and columns from the first tap to the last."""
        height, width = ((taps - 1) * step + 1 for taps, step in zip(self.size, self.dilation, strict=True))
        return height, width

    @property
    def overlap(self) -> int:
        """The most windows that one pixel is in."""
        apart = (s // math.gcd(s, d) for s, d in zip(self.strides, self.dilation, strict=True))
        return math.prod(-(-taps // step) for taps, step in zip(self.size, apart, strict=True))

    def positions(self, shape: tuple[int, ...]) -> Pair:
        """Positions in an image whose first two sizes are height and width."""
        axes = zip(shape[:2], self.span, self.strides, strict=True)
        height, width = (output_size(*axis, self.padding) for axis in axes)
        return height, width

    def pads(self, shape: tuple[int, ...]) -> tuple[Pair, Pair]:
        """Rows above and below, columns left and right of such an image."""
        axes = zip(shape[:2], self.span, self.strides, strict=True)
        rows, columns = (same_padding(*axis, self.padding) for axis in axes)
        return rows, columns


def windows(x: np.ndarray, window: Window, fill: int) -> np.ndarray:
    """All windows of an image, a view [batch, h_out, w_out, channels, window_h, window_w] of the padded input."""
    padded = np.pad(x, ((0, 0), *window.pads(x.shape[1:]), (0, 0)), constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(padded, window.span, axis=(1, 2))
    view = view[:, :: window.strides[0], :: window.strides[1]]
    return view[..., :: window.dilation[0], :: window.dilation[1]]


def scatter(parts: np.ndarray, shape: tuple[int, ...], window: Window) -> np.ndarray:
    """The transpose of `windows`: adds parts [batch, h_out, w_out, channels, window_h, window_w] into an image."""
    pads = window.pads(shape[1:])
    height, width = (size + sum(pad) for size, pad in zip(shape[1:3], pads, strict=True))
    dtype = np.result_type(parts.dtype, code_dtype(magnitude(parts) * window.overlap))
    total = np.zeros((shape[0], height, width, shape[3]), dtype)
    rows, columns = (count * stride for count, stride in zip(parts.shape[1:3], window.strides, strict=True))
    for i in range(window.size[0]):
        for j in range(window.size[1]):
            top, left = i * window.dilation[0], j * window.dilation[1]
            target = total[:, top : top + rows : window.strides[0], left : left + columns : window.strides[1]]
            target += parts[..., i, j]
    return total[:, pads[0][0] : pads[0][0] + shape[1], pads[1][0] : pads[1][0] + shape[2]]


def convolve(x: np.ndarray, kernel: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """Convolution as in Keras: kernel [h, w, channels/groups, filters], sums [batch, h_out, w_out, filters]."""
    patches = windows(x, window, fill=0)
    columns = patches.reshape(-1, groups, kernel[..., 0].size)
    sums = [product(columns[:, i], _rows(part)) for i, part in enumerate(np.split(kernel, groups, axis=3))]
    return np.concatenate(sums, axis=1).reshape(*patches.shape[:3], -1)


def convolve_error(
    e: np.ndarray, kernel: np.ndarray, shape: tuple[int, ...], window: Window, groups: int = 1
) -> np.ndarray:
    """Error of a convolution's input, of the given shape, from that of its output."""
    columns = e.reshape(-1, groups, e.shape[-1] // groups)
    parts = [product(columns[:, i], _rows(part).T) for i, part in enumerate(np.split(kernel, groups, axis=3))]
    return scatter(np.concatenate(parts, axis=1).reshape(*e.shape[:3], shape[3], *window.size), shape, window)


def convolve_gradient(x: np.ndarray, e: np.ndarray, window: Window, groups: int = 1) -> np.ndarray:
    """Gradient of a convolution's kernel, summed over batch and positions: [h, w, channels/groups, filters]."""
    channels = x.shape[3] // groups
    columns = windows(x, window, fill=0).reshape(-1, groups, channels * window.size[0] * window.size[1])
    errors = e.reshape(-1, groups, e.shape[-1] // groups)
    sums = [product(columns[:, i].T, errors[:, i].T).reshape(channels, *window.size, -1) for i in range(groups)]
    return np.concatenate(sums, axis=3).transpose(1, 2, 0, 3)


def max_pool(x: np.ndarray, window: Window) -> np.ndarray:
    """Maximum of each window; padding never wins."""
    return windows(x, window, np.iinfo(x.dtype).min).max(axis=(-2, -1))


def max_pool_error(x: np.ndarray, e: np.ndarray, window: Window) -> np.ndarray:
    """Error of a max pooling's input `x`: each output's error goes to the first maximum, row by row, of its window."""
    patches = windows(x, window, np.iinfo(x.dtype).min)
    first = patches.reshape(*patches.shape[:4], -1).argmax(axis=-1)[..., None]
    parts = np.where(np.arange(window.size[0] * window.size[1]) == first, e[..., None], 0)
    return scatter(parts.reshape(patches.shape), x.shape, window)


def _rows(kernel: np.ndarray) -> np.ndarray:
    """A kernel as [filters, channels·h·w], the order of `windows`."""
    return kernel.transpose(3, 2, 0, 1).reshape(kernel.shape[3], -1)
