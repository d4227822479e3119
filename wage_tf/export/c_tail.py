"""The part of a network that a device trains: from one layer on, with every branch on which an error passes.

What comes before it is inference: it has no errors, and its weights stay at their own width.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Generic, TypeVar

from wage_tf.errors import UserError
from wage_tf.export.c_view import View
from wage_tf.export.stages import Stage
from wage_tf.integer.arithmetic import largest_code
from wage_tf.integer.graph import Graph
from wage_tf.integer.linear import Window
from wage_tf.integer.nodes import Bias, Kernel

Value = TypeVar("Value", Kernel, Bias)


class Refusal(UserError):
    """Something that a device cannot train."""

    def __init__(self, name: str, reason: str):
        super().__init__(f"{name}: {reason} cannot be trained")


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
class Parameter(Generic[Value]):
    """A kernel or a bias that is trained.

    Attributes:
        value: Its numbers and the rule of its update.
        first: Place of its first number among all kernels, or all biases, that are trained.
    """

    value: Value
    first: int

    @property
    def bytes(self) -> int:
        """Of one of its numbers as it is stored."""
        return 1 if isinstance(self.value, Kernel) else 4


@dataclasses.dataclass(frozen=True, eq=False)
class Errors:
    """The errors of an output, codes after Q_E.

    Attributes:
        stage: The stage that makes the output.
        limit: The largest code.
        is_mask_first: Whether Q_A's mask comes before Q_E; after it where a QError behind an activation is what rounds.
        sources: The readers that say what they are; none: the loss. A list that grows while the tail is made.
    """

    stage: Stage
    limit: int
    is_mask_first: bool
    sources: list[tuple[Layer, View]]

    @property
    def size(self) -> int:
        """Numbers of an image."""
        return math.prod(self.stage.signal.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """What passes errors back: a trained product, or a sum or an average pooling, whose weights are all 1.

    Attributes:
        name: The node's.
        stage: The stage of a product; None without weights.
        inputs: Shape of the input as an image: height, width, channels.
        outputs: The same of the output, after pooling.
        window: How it moves over the input.
        groups: Of channels.
        pool: Size of the windows, side by side, of which the largest sum is kept.
        fraction: Fraction bits that an error gains on its way.
        errors: Those of its output.
        kernel: None without weights.
        bias: None where there is none.
    """

    name: str
    stage: Stage | None
    inputs: tuple[int, int, int]
    outputs: tuple[int, int, int]
    window: Window
    groups: int
    pool: tuple[int, int]
    fraction: int
    errors: Errors
    kernel: Parameter[Kernel] | None = None
    bias: Parameter[Bias] | None = None

    @property
    def parameters(self) -> list[Parameter[Any]]:
        """Kernel and bias, where there are."""
        return [parameter for parameter in (self.kernel, self.bias) if parameter is not None]

    @property
    def stored_bytes(self) -> int:
        """A byte a weight and four a bias."""
        return sum(parameter.value.codes.size * parameter.bytes for parameter in self.parameters)

    @property
    def positions(self) -> int:
        """Places of the pooled output at which errors are."""
        return self.outputs[0] * self.outputs[1]

    @property
    def gain(self) -> int:
        """A bound on what an error is multiplied by and added up over, on its way to one number of the input."""
        if self.kernel is None:
            return self.window.overlap
        return largest_code(self.kernel.value.width) * self.window.overlap * self.outputs[2] // self.groups


@dataclasses.dataclass(frozen=True, eq=False)
class Tail:
    """All of it.

    Attributes:
        errors: In the order of the backward pass, that of the scores first.
        layers: Those with weights in the order of the forward pass, then the others.
        late: Names of the stages that a trained layer comes before, or which it is.
        is_wide: Whether sums of errors can pass 32 bits.
    """

    errors: tuple[Errors, ...]
    layers: tuple[Layer, ...]
    late: frozenset[str]
    is_wide: bool = False

    @property
    def trained(self) -> list[Layer]:
        """The layers with weights."""
        return [layer for layer in self.layers if layer.kernel is not None]

    @property
    def parameters(self) -> list[Parameter[Any]]:
        """In the order in which they are stored."""
        return [parameter for layer in self.layers for parameter in layer.parameters]

    @property
    def passing(self) -> set[Layer]:
        """The layers through which an error passes on."""
        return {layer for errors in self.errors for layer, _ in errors.sources}

    def schedule(self) -> list[Errors | Layer]:
        """The backward pass after the loss: errors are made from their sources, and a layer is updated.

        That is done once no error passes through it any more.
        """
        found: list[Errors | Layer] = []
        waiting = self.trained[::-1]
        for place, errors in enumerate(self.errors):
            if place > 0:
                found.append(errors)
            coming = {layer for later in self.errors[place + 1 :] for layer, _ in later.sources}
            made = set(self.errors[: place + 1])
            ready = [layer for layer in waiting if layer not in coming and layer.errors in made]
            found += ready
            waiting = [layer for layer in waiting if layer not in ready]
        return found


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


def learning_layers(graph: Graph, training: Training | None) -> set[str]:
    """Names of the layers whose weights change on a device; `training`: how, None for inference alone."""
    if training is None:
        return set()
    kernels = frozen_before(graph, training.train_from).kernels
    return {name for name, kernel in kernels.items() if kernel.variable is not None}
