"""Where the generated C keeps what its stages give: one arena, in which places are shared by liveness."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from wage_tf.export.stages import Stage, Stages
from wage_tf.integer.arithmetic import code_dtype
from wage_tf.integer.graph import IMAGES
from wage_tf.integer.nodes import Activation, Add, Flatten, Product, Relu, Reshape
from wage_tf.integer.tensors import Signal
from wage_tf.native.arena import Buffer, plan

ALIGNMENT = 4
_VIEWS = (Flatten, Reshape)
_ELEMENTWISE = (Activation, Add, Relu)


@dataclasses.dataclass(frozen=True)
class Memory:
    """The plan.

    Attributes:
        size: Bytes of the arena.
        places: The buffer of every stage's output by name; None where it is the caller's, image or scores.
        dtypes: The type of its elements, by name.
    """

    size: int
    places: dict[str, Buffer | None]
    dtypes: dict[str, np.dtype]


def memory(network: Stages) -> Memory:
    """Plans the arena: every output lives from its stage to its last reader.

    A view has the place of what it views. A stage that works element by element takes the place of an input that
    nobody needs after it, where its own elements are no larger; a product that of what is added to its sums, where
    they are as large.
    """
    roots = {IMAGES: IMAGES}
    for stage in network.stages:
        roots[stage.name] = roots[stage.inputs[0]] if isinstance(stage.node, _VIEWS) else stage.name
    last_use = {roots[name]: time for time, stage in enumerate(network.stages) for name in stage.inputs}
    scores = roots[network.stages[-1].name]
    dtypes: dict[str, np.dtype] = {IMAGES: np.dtype(np.uint8)}
    owners: dict[str, Buffer | None] = {IMAGES: None}
    for time, stage in enumerate(network.stages):
        root = roots[stage.name]
        if root == stage.name:
            dtypes[root] = np.dtype(np.int32) if root == scores else _dtype(stage.signal)
            owners[root] = None if root == scores else _buffer(stage, time, roots, owners, dtypes, last_use)
        buffer = owners[root]
        if buffer is not None:
            buffer.use(time)
            buffer.use(last_use[root])
    buffers = {id(buffer): buffer for buffer in owners.values() if buffer is not None}
    size = plan(buffers.values(), alignment=ALIGNMENT)
    names = roots.items()
    return Memory(size, {name: owners[root] for name, root in names}, {name: dtypes[root] for name, root in names})


def _buffer(
    stage: Stage,
    time: int,
    roots: dict[str, str],
    owners: dict[str, Buffer | None],
    dtypes: dict[str, np.dtype],
    last_use: dict[str, int],
) -> Buffer:
    """A new buffer for a stage's output, or that of an input that ends here."""
    itemsize = dtypes[stage.name].itemsize
    for i, name in enumerate(stage.inputs):
        owner, size = owners[roots[name]], dtypes[roots[name]].itemsize
        if isinstance(stage.node, Product):
            fits = i == 1 and size == itemsize and owner is not owners[roots[stage.inputs[0]]]
        else:
            fits = isinstance(stage.node, _ELEMENTWISE) and size >= itemsize
        if fits and owner is not None and last_use[roots[name]] == time:
            return owner
    return Buffer(math.prod(stage.signal.shape) * itemsize)


def _dtype(signal: Signal) -> np.dtype:
    return np.dtype(np.uint8) if signal.is_pixels else code_dtype(signal.largest)
