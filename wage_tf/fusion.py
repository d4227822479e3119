"""Compiles a function of tensors into one pass over memory.

TensorFlow's CPU runs each elementwise operation as a pass of its own over a freshly allocated buffer, several times
the cost of the arithmetic. XLA fuses them. Convolutions stay with TensorFlow's kernels, which are faster than XLA's
on CPUs; so only the quantizers are compiled, and a whole step under XLA (`jit_compile=True`, GPUs) inlines them.

XLA's CPU code vectorizes the loop over a tensor's last axis. Sixteen channels make that loop too short; so the tensors
go in flat, which costs nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf


def fused(function: Callable) -> Callable:
    """Decorates `function(*tensors, **static)` to run as one XLA kernel per static arguments and tensor sizes.

    The function sees its tensors flat, scalars as scalars, and must not depend on their shapes: its results are scalars
    or have an element for each of the first tensor's, whose shape they get. Static arguments must be hashable. It is
    traced once for tensors of any size, and compiled for each size when it runs.
    """

    @functools.lru_cache(maxsize=1024)
    def compiled(static: tuple, signature: tuple[tf.TensorSpec, ...]) -> Callable:
        given = functools.partial(function, **dict(static))
        return tf.function(given, input_signature=signature, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def call(*tensors: tf.Tensor, **static: object) -> tf.Tensor:
        inputs = [tf.convert_to_tensor(tensor) for tensor in tensors]
        flat = [x if x.shape.rank == 0 else tf.reshape(x, [-1]) for x in inputs]
        signature = tuple(tf.TensorSpec([] if x.shape.rank == 0 else [None], x.dtype) for x in flat)
        results = compiled(tuple(sorted(static.items())), signature)(*flat)
        return tf.nest.map_structure(lambda result: _shaped_as(inputs[0], result), results)

    return call


def _shaped_as(tensor: tf.Tensor, result: tf.Tensor) -> tf.Tensor:
    """A flat result in the shape of `tensor`; a scalar as it is."""
    return result if result.shape.rank == 0 else tf.reshape(result, tf.shape(tensor))
