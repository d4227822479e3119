"""Shapes, windows and products as the runtime has them: images of channels, and the fields of `wage_layer`."""

from __future__ import annotations

import math

from wage_tf.errors import UserError
from wage_tf.integer import nodes as kinds
from wage_tf.native.program import Shape, Tensor


def image_shape(shape: tuple[int, ...]) -> Shape:
    """A shape as height, width and channels; axes of 1 are added in front.

    Raises:
        UserError: If it has more than three axes.
    """
    if len(shape) > 3:
        raise UserError(f"native engine: tensors have at most three axes besides the batch; received {shape}")
    height, width, channels = (*(1,) * (3 - len(shape)), *shape)
    return height, width, channels


def window_fields(size: tuple[int, int], strides: tuple[int, int], top: int, left: int) -> dict[str, int]:
    """A moving window as fields of `wage_layer`."""
    names = ("window_h", "window_w", "stride_h", "stride_w", "pad_top", "pad_left")
    return dict(zip(names, (*size, *strides, top, left), strict=True))


def layer_fields(node: kinds.Conv2D | kinds.Dense, x: Tensor) -> dict[str, int]:
    """The geometry of a product as a convolution, and the border that it asks of its input."""
    sizes = {"wide_gradient": 0, "groups": 1, "dilation_h": 1, "dilation_w": 1, "pool_h": 1, "pool_w": 1}
    if isinstance(node, kinds.Dense):
        inputs, units = node.kernel.codes.shape
        sizes |= window_fields((1, 1), (1, 1), 0, 0)
        return sizes | {"in_h": 1, "in_w": 1, "channels": inputs, "out_h": 1, "out_w": 1, "filters": units}
    window = node.window
    (top, _), (left, _) = window.pads(x.shape)
    height, width = window.positions(x.shape)
    sizes |= window_fields(window.size, window.strides, top, left)
    reach = [
        max(0, (count - 1) * stride + span - before - size)
        for count, stride, span, before, size in zip(
            (height, width), window.strides, window.span, (top, left), x.shape, strict=False
        )
    ]
    if max(top, left, *reach) > 0:
        x.border.widen(top, left, *reach)
    return sizes | {
        "dilation_h": window.dilation[0],
        "dilation_w": window.dilation[1],
        "groups": node.groups,
        "in_h": x.shape[0],
        "in_w": x.shape[1],
        "channels": x.shape[2],
        "out_h": height,
        "out_w": width,
        "filters": math.prod(node.kernel.codes.shape[3:]),
    }
