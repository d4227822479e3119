"""Where the generated C keeps what its stages give: one arena, in which places are shared by liveness."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from wage_tf.export.c_tail import Errors, Layer, Tail
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
        batched: Names of the outputs that are kept for all images of a batch.
        gates: Where an output whose errors are needed has its gates, by the errors.
        errors: Where these lie.
    """

    size: int
    places: dict[str, Buffer | None]
    dtypes: dict[str, np.dtype]
    batched: frozenset[str] = frozenset()
    gates: dict[Errors, Buffer] = dataclasses.field(default_factory=dict)
    errors: dict[Errors, Buffer] = dataclasses.field(default_factory=dict)


def memory(network: Stages, tail: Tail | None = None, batch: int = 1) -> Memory:
    """Plans the arena: every output lives from its stage to its last reader.

    A view has the place of what it views. A stage that works element by element takes the place of an input that
    nobody needs after it, where its own elements are no larger; a product that of what is added to its sums, where
    they are as large.

    In training what comes after the first trained layer, and what it takes, is kept for all images of the batch, and
    the input of a trained layer until that is updated; what comes before is computed image by image.

    Args:
        network: The stages.
        tail: What is trained; None for inference alone.
        batch: The most images at once.
    """
    roots = {IMAGES: IMAGES}
    for stage in network.stages:
        roots[stage.name] = roots[stage.inputs[0]] if isinstance(stage.node, _VIEWS) else stage.name
    scores = roots[network.stages[-1].name]
    last_use = {roots[name]: time for time, stage in enumerate(network.stages) for name in stage.inputs}
    batched, early = set(), set()
    if tail is not None:
        late = [stage for stage in network.stages if stage.name in tail.late]
        batched = {roots[name] for stage in late for name in (*stage.inputs, stage.name)}
        early = batched - {roots[stage.name] for stage in late}
        last_use[scores] = len(network.stages)
        for time, layer in enumerate(tail.schedule(), start=len(network.stages) + 1):
            if isinstance(layer, Layer):
                root = roots[layer.stage.inputs[0]]
                last_use[root] = max(last_use[root], time)
    plans = _Plans(roots, last_use, batched, early, batch, is_kept=tail is not None)
    for time, stage in enumerate(network.stages):
        plans.place(stage, time, is_last=roots[stage.name] == scores)
    gates, errors = _backward(network, tail, batch) if tail is not None else ({}, {})
    found = (*plans.owners.values(), *gates.values(), *errors.values())
    buffers = {id(buffer): buffer for buffer in found if buffer is not None}
    size = plan(buffers.values(), alignment=ALIGNMENT)
    places = {name: plans.owners[root] for name, root in roots.items()}
    dtypes = {name: plans.dtypes[root] for name, root in roots.items()}
    kept = frozenset(name for name, root in roots.items() if root in batched)
    return Memory(size, places, dtypes, kept, gates, errors)


@dataclasses.dataclass
class _Plans:
    """The buffers of outputs while they are made.

    Attributes:
        roots: What every output is a view of.
        last_use: When that is read last.
        batched: What is kept for all images of a batch.
        early: What of it is computed image by image, and so must not lie where anything does that is.
        batch: The most images.
        is_kept: Whether scores are in the arena, not the caller's.
        owners: The buffers.
        dtypes: The types of their elements.
    """

    roots: dict[str, str]
    last_use: dict[str, int]
    batched: set[str]
    early: set[str]
    batch: int
    is_kept: bool
    owners: dict[str, Buffer | None] = dataclasses.field(default_factory=lambda: {IMAGES: None})
    dtypes: dict[str, np.dtype] = dataclasses.field(default_factory=lambda: {IMAGES: np.dtype(np.uint8)})

    def place(self, stage: Stage, time: int, is_last: bool) -> None:
        """Gives a stage's output a buffer, or that of an input that ends here, and notes how long it is used."""
        root = self.roots[stage.name]
        if root == stage.name:
            self.dtypes[root] = np.dtype(np.int32) if is_last else _dtype(stage.signal)
            self.owners[root] = None if is_last and not self.is_kept else self._shared(stage, time) or self._new(stage)
        buffer = self.owners[root]
        if buffer is not None:
            buffer.use(0 if root in self.early else time)
            buffer.use(self.last_use.get(root, time))

    def _new(self, stage: Stage) -> Buffer:
        count = self.batch if stage.name in self.batched else 1
        return Buffer(count * math.prod(stage.signal.shape) * self.dtypes[stage.name].itemsize)

    def _shared(self, stage: Stage, time: int) -> Buffer | None:
        itemsize = self.dtypes[stage.name].itemsize
        for i, name in enumerate(stage.inputs):
            root = self.roots[name]
            owner, size = self.owners[root], self.dtypes[root].itemsize
            if isinstance(stage.node, Product):
                fits = i == 1 and size == itemsize and owner is not self.owners[self.roots[stage.inputs[0]]]
            else:
                fits = isinstance(stage.node, _ELEMENTWISE) and size >= itemsize
            is_alike = (root in self.batched) == (stage.name in self.batched)
            if fits and is_alike and owner is not None and self.last_use[root] == time:
                return owner
        return None


def _backward(network: Stages, tail: Tail, batch: int) -> tuple[dict[Errors, Buffer], dict[Errors, Buffer]]:
    """Gates and errors, in which an error takes the place of its gate, unless that still says where the maximum was.

    Stage i of n runs at time i, the loss at n, and what the schedule says after it, one after the other.
    """
    gates, errors = {}, {}
    times = {stage.name: time for time, stage in enumerate(network.stages)}
    made = {tail.errors[0]: len(network.stages)}
    used = dict(made)
    for time, what in enumerate(tail.schedule(), start=len(network.stages) + 1):
        if isinstance(what, Layer):
            used[what.errors] = time
        else:
            made[what] = used[what] = time
            used |= {layer.errors: time for layer, _ in what.sources}
    for what in tail.errors:
        is_pooled = what.stage.pool != (1, 1)
        gate = gates[what] = Buffer(batch * what.size)
        error = errors[what] = Buffer(batch * what.size) if is_pooled else gate
        gate.use(times[what.stage.name])
        gate.use(used[what] if is_pooled else made[what])
        error.use(made[what])
        error.use(used[what])
    return gates, errors


def _dtype(signal: Signal) -> np.dtype:
    return np.dtype(np.uint8) if signal.is_pixels else code_dtype(signal.largest)
