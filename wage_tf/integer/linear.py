"""Products, convolutions and max pooling of integer arrays, forward and backward; images are [batch, h, w, channels].

Operands are the codes as they are stored (int8 or int16); sums are accumulated in int32 where
max|a|·max|b|·terms shows that they fit, else in int64.
"""

from __future__ import annotations

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


def windows(x: np.ndarray, window: Pair, strides: Pair, padding: str, fill: int) -> np.ndarray:
    """All windows of an image, a view [batch, h_out, w_out, channels, window_h, window_w] of the padded input."""
    pads = [same_padding(*axis, padding) for axis in zip(x.shape[1:3], window, strides, strict=True)]
    padded = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(padded, window, axis=(1, 2))
    return view[:, :: strides[0], :: strides[1]]


def scatter(parts: np.ndarray, shape: tuple[int, ...], window: Pair, strides: Pair, padding: str) -> np.ndarray:
    """The transpose of `windows`: adds parts [batch, h_out, w_out, channels, window_h, window_w] into an image."""
    pads = [same_padding(*axis, padding) for axis in zip(shape[1:3], window, strides, strict=True)]
    height, width = (size + sum(pad) for size, pad in zip(shape[1:3], pads, strict=True))
    overlap = math.prod(-(-size // stride) for size, stride in zip(window, strides, strict=True))
    dtype = np.result_type(parts.dtype, code_dtype(magnitude(parts) * overlap))
    total = np.zeros((shape[0], height, width, shape[3]), dtype)
    rows, columns = (count * stride for count, stride in zip(parts.shape[1:3], strides, strict=True))
    for i in range(window[0]):
        for j in range(window[1]):
            total[:, i : i + rows : strides[0], j : j + columns : strides[1]] += parts[..., i, j]
    return total[:, pads[0][0] : pads[0][0] + shape[1], pads[1][0] : pads[1][0] + shape[2]]


def convolve(x: np.ndarray, kernel: np.ndarray, strides: Pair, padding: str) -> np.ndarray:
    """Convolution as in Keras: kernel [h, w, channels, filters], sums [batch, h_out, w_out, filters]."""
    patches = windows(x, kernel.shape[:2], strides, padding, fill=0)
    columns = patches.reshape(-1, kernel[..., 0].size)
    return product(columns, _rows(kernel)).reshape(*patches.shape[:3], -1)


def convolve_error(
    e: np.ndarray, kernel: np.ndarray, shape: tuple[int, ...], strides: Pair, padding: str
) -> np.ndarray:
    """Error of a convolution's input, of the given shape, from that of its output."""
    parts = product(e.reshape(-1, e.shape[-1]), _rows(kernel).T)
    height, width, channels, _ = kernel.shape
    return scatter(parts.reshape(*e.shape[:3], channels, height, width), shape, (height, width), strides, padding)


def convolve_gradient(x: np.ndarray, e: np.ndarray, window: Pair, strides: Pair, padding: str) -> np.ndarray:
    """Gradient of a convolution's kernel, summed over batch and positions: [h, w, channels, filters]."""
    patches = windows(x, window, strides, padding, fill=0)
    columns = patches.reshape(-1, x.shape[3] * window[0] * window[1])
    sums = product(columns.T, e.reshape(-1, e.shape[-1]).T)
    return sums.reshape(x.shape[3], *window, -1).transpose(1, 2, 0, 3)


def max_pool(x: np.ndarray, window: Pair, strides: Pair, padding: str) -> np.ndarray:
    """Maximum of each window; padding never wins."""
    return windows(x, window, strides, padding, np.iinfo(x.dtype).min).max(axis=(-2, -1))


def max_pool_error(x: np.ndarray, e: np.ndarray, window: Pair, strides: Pair, padding: str) -> np.ndarray:
    """Error of a max pooling's input `x`: each output's error goes to the first maximum, row by row, of its window."""
    patches = windows(x, window, strides, padding, np.iinfo(x.dtype).min)
    first = patches.reshape(*patches.shape[:4], -1).argmax(axis=-1)[..., None]
    parts = np.where(np.arange(window[0] * window[1]) == first, e[..., None], 0)
    return scatter(parts.reshape(patches.shape), x.shape, window, strides, padding)


def _rows(kernel: np.ndarray) -> np.ndarray:
    """A kernel as [filters, channels·h·w], the order of `windows`."""
    return kernel.transpose(3, 2, 0, 1).reshape(kernel.shape[3], -1)
