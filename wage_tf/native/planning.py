"""Memory of a program: which errors are needed, how large every buffer is, and when it is needed."""

from __future__ import annotations

import math

from wage_tf.native.arena import Buffer, plan
from wage_tf.native.program import Node, Program, Tensor


def needing_errors(program: Program) -> set[Tensor]:
    """The tensors whose error training needs: those at or behind a trained parameter."""
    needed: set[Tensor] = set()
    for node in program.nodes:
        trained = node.parameter is not None and node.parameter[1].variable is not None
        if trained and node.kind == "ADD":
            needed.add(node.inputs[0])
        if trained or needed.intersection(node.inputs):
            needed.update(node.outputs)
    return needed


def plan_memory(program: Program, batch: int, workspace: Buffer, training: bool, sharing: bool = True) -> int:
    """Gives every buffer of a program its offset; returns the bytes of the arena.

    Args:
        program: The network.
        batch: The most images at once.
        workspace: The kernels' workspace, its size set.
        training: Whether there is a backward pass.
        sharing: Whether buffers may share a place; without it, all values of a step can be looked at after it.
    """
    readers = {tensor: node for node in program.nodes for tensor in node.inputs}
    if training:
        _make_errors(program, readers)
    code, total = (2, 8) if program.wide else (1, 4)
    for tensor in program.tensors:
        pixels = math.prod(tensor.shape[:2]) if tensor.sums else tensor.rows * tensor.columns
        tensor.data.size = batch * pixels * tensor.shape[2] * (total if tensor.sums else code)
        if tensor.gate is not None:
            tensor.gate.size = batch * tensor.size
        if tensor.error is not None:
            tensor.error.size = batch * tensor.size * total
    _set_times(program, training)
    buffers = [b for t in program.tensors for b in (t.data, t.gate, t.error)] + [n.gradient for n in program.nodes]
    if workspace.size:
        workspace.use(0)
        workspace.use(2 * len(program.nodes))
        buffers.append(workspace)
    return plan((b for b in dict.fromkeys(buffers) if b is not None), sharing)


def _make_errors(program: Program, readers: dict[Tensor, Node]) -> None:
    """Errors and gradients; where a node only passes an error on, in one buffer."""
    needed = needing_errors(program)
    if program.scores in needed:
        program.scores.error = Buffer()
    for node in reversed(program.nodes):
        out = node.outputs[0].error
        reader = readers.get(node.outputs[0])
        for tensor in needed.intersection(node.inputs):
            passed = node.kind == "ADD" and tensor.gate is None
            viewed = node.kind == "FORK" and len(node.outputs) == 1 and reader is not None and reader.kind == "LINEAR"
            tensor.error = out if passed or viewed else Buffer()
        if out is not None and node.parameter is not None and node.parameter[1].variable is not None:
            wide = node.kind == "ADD" or node.layer["wide_gradient"]
            node.gradient = Buffer(node.parameter[1].codes.size * (8 if wide else 4))


def _set_times(program: Program, training: bool) -> None:
    """Node i runs forward at time i and backward at time 2n − i, the loss at time n.

    No weights change before the errors of the first fork have met, which can fail: until then gradients are kept.
    """
    n = len(program.nodes)
    meetings = [2 * n - i for i, node in enumerate(program.nodes) if node.kind == "FORK" and len(node.outputs) > 1]
    for i, node in enumerate(program.nodes):
        back = 2 * n - i
        for tensor in (*node.inputs, *node.outputs):
            tensor.data.use(i)
            if training and tensor.gate is not None:
                tensor.gate.use(i)
                tensor.gate.use(back)
            if tensor.error is not None:
                tensor.error.use(back)
        if not training or node.outputs[0].error is None:
            continue
        if node.gradient is not None:
            node.gradient.use(back)
            node.gradient.use(max([back, *meetings[:1]]))
        if node.kind in ("LINEAR", "MAX_POOL"):
            node.inputs[0].data.use(back)
        if node.errors is not None:
            node.errors.data.use(back)
    program.scores.data.use(2 * n)
    if program.scores.error is not None:
        program.scores.error.use(n)
