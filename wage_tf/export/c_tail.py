"""The layers that a device trains: the end of a network, a chain of products with stored weights.

What comes before them is inference: it has no errors, and its weights stay at their own width.
"""

from __future__ import annotations

import dataclasses
import math

from wage_tf.errors import UserError
from wage_tf.export.stages import Stage, Stages
from wage_tf.integer.graph import Graph, float_operands
from wage_tf.native.lowering import lower
from wage_tf.native.program import Node

_CODE = 127
_SUM = 2**31 - 1
_WIDEST_SHIFT = 30
_TRAINED_KINDS = ("LINEAR", "FORK", "ERROR")
_OTHERS = {
    "ADD": "a sum or an activation of its own",
    "CONCAT": "a concatenation",
    "PAD": "a padding",
    "MAX_POOL": "a max pooling that is not fused",
    "SUM_POOL": "an average pooling",
}


@dataclasses.dataclass(frozen=True)
class Training:
    """How a device trains.

    Attributes:
        batch: The most images of one step.
        train_from: The first layer that it trains, all after it included; None for the first of the network.
        log2_eta: log2 of the learning rate at the start.
        seed: The optimizer's seed.
        step: Steps done before.
    """

    batch: int = 1
    train_from: str | None = None
    log2_eta: int = 0
    seed: int = 0
    step: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= 2**15:
            raise UserError(f"batch: 1 to {2**15} images; received {self.batch}")
        if not -62 <= self.log2_eta <= 30:
            raise UserError(f"learning rate: 2^-62 to 2^30; received 2^{self.log2_eta}")


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedLayer:
    """One of them.

    Attributes:
        stage: Its forward pass.
        node: The layer with what is fused to it.
        error_limit: The largest code of its output's errors.
        stored: Place of its first weight among all that are stored.
    """

    stage: Stage
    node: Node
    error_limit: int
    stored: int

    @property
    def name(self) -> str:
        return self.stage.node.name

    @property
    def weights(self) -> int:
        """Their number."""
        return self.stage.node.kernel.codes.size

    @property
    def positions(self) -> int:
        """Places of the pooled output at which errors are."""
        return math.prod(self.stage.signal.shape[:-1])


def frozen_before(graph: Graph, layer: str | None) -> Graph:
    """The graph with the layers before one frozen, as a device leaves them.

    Args:
        graph: The network.
        layer: The first that is trained; None leaves all as they are.

    Raises:
        UserError: If there is no such layer with a kernel.
    """
    if layer is None:
        return graph
    names = list(graph.kernels)
    if layer not in names:
        raise UserError(f"train_from: one of {', '.join(names)}; received {layer!r}")
    before = set(names[: names.index(layer)])
    frozen = {
        name: dataclasses.replace(parameter, variable=None)
        for name, parameter in graph.parameters.items()
        if name.rpartition("/")[0] in before
    }
    return graph.with_parameters(frozen)


def tail(graph: Graph, network: Stages, training: Training) -> list[TrainedLayer]:
    """The trained layers in order.

    Args:
        graph: The network.
        network: Its stages, fused.
        training: What is wanted.

    Raises:
        UserError: If a layer from `training.train_from` on cannot be trained on a device; the message names it.
    """
    nodes = lower(frozen_before(graph, training.train_from), wide=False).nodes
    trained = [i for i, node in enumerate(nodes) if _is_trained(node)]
    if not trained:
        raise UserError("device training: every layer is frozen")
    by_name = {stage.node.name: stage for stage in network.stages}
    wrong = {i: _why_not(node, by_name) for i, node in enumerate(nodes) if i >= trained[0]}
    wrong = {i: reason for i, reason in wrong.items() if reason}
    if wrong:
        first, last = min(wrong), max(wrong)
        later = [node.names[0] for node in nodes[last + 1 :] if node.kind == "LINEAR"]
        instead = f"; train_from = {later[0]} can be" if later else ""
        raise UserError(f"device training: {_label(nodes, first)}: {wrong[first]} cannot be trained{instead}")
    floats = float_operands(frozen_before(graph, training.train_from))
    if floats:
        raise UserError(f"device training: not all operands are integers: {'; '.join(floats)}")
    limits = _error_limits(nodes[trained[0] :])
    layers, stored = [], 0
    for node, limit in zip([n for n in nodes[trained[0] :] if n.kind == "LINEAR"], limits, strict=True):
        layer = TrainedLayer(by_name[node.names[0]], node, limit, stored)
        _check_bounds(layer, training.batch)
        layers.append(layer)
        stored += layer.weights
    return layers


def _is_trained(node: Node) -> bool:
    return node.parameter is not None and node.parameter[1].variable is not None


def _label(nodes: list[Node], place: int) -> str:
    """The graph's name for a node of the program; of one that has none, for what comes before it."""
    node = nodes[place]
    if node.parameter is not None:
        return node.parameter[0].rpartition("/")[0]
    return node.names[0] if node.names else _label(nodes, place - 1)


def _why_not(node: Node, stages: dict[str, Stage]) -> str | None:
    """What of a node of the program a device cannot train."""
    if node.kind not in _TRAINED_KINDS:
        return "its bias" if node.parameter else f"{_OTHERS.get(node.kind, node.kind)} behind a trained layer"
    if node.kind == "FORK" and len(node.outputs) > 1:
        return "an output with several readers"
    if node.kind != "LINEAR":
        return None
    kernel, stage = node.parameter[1], stages.get(node.names[0])
    if not _is_trained(node):
        return "a frozen layer behind a trained one"
    if kernel.accumulators is None:
        return "a kernel without stored weights"
    if kernel.limit > _CODE:
        return f"stored weights of up to {kernel.limit}, more than 8 bits,"
    if stage is None or len(stage.inputs) > 1 or stage.pool != (node.layer["pool_h"], node.layer["pool_w"]):
        return "what is fused with its sums"
    if max(node.inputs[0].largest, node.layer["w_limit"], stage.rounding.limit) > _CODE:
        return "codes of more than 8 bits"
    return None


def _error_limits(nodes: list[Node]) -> list[int]:
    """The largest codes of the layers' errors: of the last that of the loss, which Q_E quantizes.

    Raises:
        UserError: If there is another number of Q_E than one behind a layer.
    """
    found: list[list[int]] = []
    for node in nodes:
        if node.kind == "LINEAR":
            found.append([])
        if node.error_limit:
            found[-1].append(node.error_limit)
    layers = [node for node in nodes if node.kind == "LINEAR"]
    for node, limits in zip(layers, found, strict=True):
        if len(limits) != 1 or limits[0] > _CODE:
            raise UserError(
                f"device training: {node.names[0]}: behind it the error is quantized once, to at most 8 bits"
            )
        is_last = node is layers[-1]
        if bool(node.error_limit) == is_last:
            kind = "by a QError" if is_last else "by its QActivation"
            raise UserError(f"device training: {node.names[0]}: its error is quantized {kind}")
    return [limits[0] for limits in found]


def _check_bounds(layer: TrainedLayer, batch: int) -> None:
    """Requires that sums of errors and gradients stay within 32 bits, and the last layer's outputs to be classes."""
    kernel = layer.stage.node.kernel
    taps = math.prod(kernel.codes.shape[:-2])
    groups = getattr(layer.stage.node, "groups", 1)
    errors = _CODE * layer.node.layer["w_limit"] * taps * kernel.codes.shape[-1] // groups
    gradients = batch * layer.positions * _CODE * layer.error_limit
    if errors > _SUM or layer.stage.rounding.shift > _WIDEST_SHIFT:
        raise UserError(f"device training: {layer.name}: sums of its errors can pass 32 bits")
    if gradients > _SUM:
        most = _SUM // (gradients // batch)
        raise UserError(f"device training: {layer.name}: gradients of a batch over {most} can pass 32 bits")
