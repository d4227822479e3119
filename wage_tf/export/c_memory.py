"""Where the generated C keeps what its stages give: one arena, in which places are shared by liveness."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from wage_tf.export.c_tail import TrainedLayer
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
        gates: The gates of trained layers, by name.
        errors: Their errors.
    """

    size: int
    places: dict[str, Buffer | None]
    dtypes: dict[str, np.dtype]
    gates: dict[str, Buffer] = dataclasses.field(default_factory=dict)
    errors: dict[str, Buffer] = dataclasses.field(default_factory=dict)


def memory(network: Stages, layers: Sequence[TrainedLayer] = (), batch: int = 1) -> Memory:
    """Plans the arena: every output lives from its stage to its last reader.

    A view has the place of what it views. A stage that works element by element takes the place of an input that
    nobody needs after it, where its own elements are no larger; a product that of what is added to its sums, where
    they are as large.

    In training the input of the first trained layer and what comes after it is kept for all images of the batch, and
    until the layer behind it is updated; what comes before is computed image by image.

    Args:
        network: The stages.
        layers: Those that are trained.
        batch: The most images at once.
    """
    roots = {IMAGES: IMAGES}
    for stage in network.stages:
        roots[stage.name] = roots[stage.inputs[0]] if isinstance(stage.node, _VIEWS) else stage.name
    last_use = {roots[name]: time for time, stage in enumerate(network.stages) for name in stage.inputs}
    scores = roots[network.stages[-1].name]
    batched = {roots[name] for layer in layers for name in (*layer.stage.inputs, layer.stage.name)}
    dtypes: dict[str, np.dtype] = {IMAGES: np.dtype(np.uint8)}
    owners: dict[str, Buffer | None] = {IMAGES: None}
    for time, stage in enumerate(network.stages):
        root = roots[stage.name]
        if root == stage.name:
            dtypes[root] = np.dtype(np.int32) if root == scores else _dtype(stage.signal)
            if root in batched:
                owners[root] = Buffer(batch * math.prod(stage.signal.shape) * dtypes[root].itemsize)
            else:
                owners[root] = None if root == scores else _buffer(stage, time, roots, owners, dtypes, last_use)
        buffer = owners[root]
        if buffer is not None:
            buffer.use(time)
            buffer.use(last_use.get(root, time))
    gates, errors = _backward(network, layers, batch, {name: owners[root] for name, root in roots.items()})
    found = (*owners.values(), *gates.values(), *errors.values())
    buffers = {id(buffer): buffer for buffer in found if buffer is not None}
    size = plan(buffers.values(), alignment=ALIGNMENT)
    places = {name: owners[root] for name, root in roots.items()}
    return Memory(size, places, {name: dtypes[root] for name, root in roots.items()}, gates, errors)


def _backward(
    network: Stages, layers: Sequence[TrainedLayer], batch: int, places: dict[str, Buffer | None]
) -> tuple[dict[str, Buffer], dict[str, Buffer]]:
    """Gates and errors of the trained layers by name, and how long their inputs are needed.

    Stage i of n runs at time i, the loss at n, and then, layer after layer from the last, the pass of its errors to the
    layer before and its update. An error takes the place of its gate, unless that still says where the maximum was.
    """
    gates, errors = {}, {}
    times = {stage.name: time for time, stage in enumerate(network.stages)}
    made, passed = len(network.stages), len(network.stages) + 1
    for layer in reversed(layers):
        size, is_pooled = batch * math.prod(layer.stage.signal.shape), layer.stage.pool != (1, 1)
        gate = gates[layer.name] = Buffer(size)
        error = errors[layer.name] = Buffer(size) if is_pooled else gate
        gate.use(times[layer.stage.name])
        gate.use(passed + 1 if is_pooled else made)
        for buffer in (error, places[layer.stage.inputs[0]]):
            buffer.use(made)
            buffer.use(passed + 1)
        made, passed = passed, passed + 2
    if layers:
        places[layers[-1].stage.name].use(len(network.stages))
        places[layers[0].stage.inputs[0]].use(0)
    return gates, errors


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
