"""Whether int8 codes and int32 sums are proven to hold a program's numbers, and where a gradient needs int64."""

from __future__ import annotations

import math

from wage_tf.errors import UserError
from wage_tf.integer.arithmetic import largest_code
from wage_tf.integer.graph import Graph
from wage_tf.integer.nodes import Bias, Kernel
from wage_tf.integer.tensors import LARGEST_SUM
from wage_tf.native.lowering import lower
from wage_tf.native.planning import needing_errors
from wage_tf.native.program import Node, Program, Tensor

_INT32 = _INT32_GRADIENTS = 2**31


def proven_program(graph: Graph, batch: int, training: bool) -> Program:
    """The program of a graph, on int8 codes and int32 sums if these are proven to hold its numbers.

    Raises:
        UserError: If int16 codes and int64 sums are not enough either.
    """
    program = lower(graph, wide=False)
    if prove(program, batch, training) is None:
        return program
    program = lower(graph, wide=True)
    reason = prove(program, batch, training)
    if reason is not None:
        raise UserError(f"native engine: {reason}: they can pass what 16-bit codes and 62-bit sums hold")
    return program


def prove(program: Program, batch: int, training: bool) -> str | None:
    """Sets `wide_gradient` of every layer; returns None, or why the program's types do not hold its numbers.

    Args:
        program: The network.
        batch: The most images at once.
        training: Whether there is a backward pass.
    """
    widest, sums = (largest_code(16), LARGEST_SUM) if program.wide else (largest_code(8), _INT32)
    for node in program.nodes:
        limits = [node.layer.get("limit", 0), node.layer.get("w_limit", 0), node.error_limit if training else 0]
        if max(limits) > widest or any(not t.sums and t.largest > widest for t in node.outputs):
            return f"{_name(node)}: widths"
        if any(t.largest >= sums for t in node.outputs) or _sum_bound(node) >= sums:
            return f"{_name(node)}: sums"
    return _prove_errors(program, batch, widest, sums) if training else None


def _prove_errors(program: Program, batch: int, widest: int, sums: int) -> str | None:
    """The bound of errors that meet without a Q_E is known in a step alone: from there to the next Q_E bounds are
    multiples of it, and the runtime holds it to the `error_most` that the nodes on the way take."""
    needed = needing_errors(program)
    bounds: dict[Tensor, int] = {program.scores: program.scores.largest + 2**program.scores.fraction}
    meeting: dict[Tensor, Node] = {}
    for node in reversed(program.nodes):
        if node.outputs[0] not in needed:
            continue
        most = widest if node.kind == "LINEAR" and not node.error_limit else sums - 1
        for tensor in node.outputs:
            if tensor in meeting:
                meeting[tensor].error_most = min(meeting[tensor].error_most, most // bounds[tensor])
            elif bounds[tensor] > most:
                return f"{_name(node)}: errors"
        met = None if node.error_limit else meeting.get(node.outputs[0])
        leaving = node.error_limit or bounds[node.outputs[0]]
        if len(node.outputs) > 1 and not node.error_limit:
            if not program.wide:
                return f"{_name(node)}: errors that meet and are not rounded"
            met, leaving = node, 1
        if node.kind == "LINEAR":
            if met:
                met, leaving = None, widest
            layer = node.layer
            positions = (layer["out_h"] // layer["pool_h"]) * (layer["out_w"] // layer["pool_w"])
            gradient = batch * positions * node.inputs[0].largest * leaving
            if gradient >= LARGEST_SUM:
                return f"{_name(node)}: gradients"
            layer["wide_gradient"] = int(program.wide or gradient >= _INT32_GRADIENTS)
            taps = layer["window_h"] * layer["window_w"]
            leaving *= layer["w_limit"] * taps * layer["filters"] // layer["groups"]
        elif node.kind in ("MAX_POOL", "SUM_POOL"):
            pairs = (("window_h", "stride_h"), ("window_w", "stride_w"))
            leaving *= math.prod(-(-node.layer[size] // node.layer[stride]) for size, stride in pairs)
        bounds |= dict.fromkeys(node.inputs, leaving)
        if met:
            meeting |= dict.fromkeys(node.inputs, met)
    return None


def _sum_bound(node: Node) -> int:
    """Bound on the sums that a fused node makes before it rounds them."""
    bound = sum(t.largest << shift for t, shift in zip(node.inputs, node.shifts, strict=False))
    match node.parameter:
        case (_, Kernel()):
            terms = math.prod(node.parameter[1].codes.shape[:-1])
            bound = node.inputs[0].largest * node.layer["w_limit"] * terms
        case (_, Bias(limit=limit)):
            bound += limit << node.bias_shift
    return bound << max(0, -node.layer.get("shift", 0))


def require_trainable(program: Program) -> None:
    """Raises a UserError where a trained kernel has no stored weights."""
    for node in program.nodes:
        if node.parameter and node.parameter[1].variable is not None and node.parameter[1].accumulators is None:
            raise UserError(f"native engine: {node.parameter[0]} has no accumulators: this graph is for inference only")


def _name(node: Node) -> str:
    return node.names[0] if node.names else node.kind
