"""What a network needs on a device: its stages, its trained layers, their memory and their size."""

from __future__ import annotations

import dataclasses
import functools

from wage_tf.errors import UserError
from wage_tf.export.c_backward import tail
from wage_tf.export.c_kinds import KINDS, is_in_fours, packed_weights
from wage_tf.export.c_memory import Memory, memory
from wage_tf.export.c_tail import Layer, Tail, Training, frozen_before, learning_layers
from wage_tf.export.stages import Stage, Stages, fused, stages
from wage_tf.integer.graph import Graph


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """A network on a device.

    Attributes:
        graph: The network; the layers that are not trained are frozen.
        network: Its stages.
        tail: What is trained; None for inference alone.
        memory: Where outputs, gates and errors lie.
        training: How it is trained; None for inference alone.
    """

    graph: Graph
    network: Stages
    tail: Tail | None
    memory: Memory
    training: Training | None

    @classmethod
    def of(cls, graph: Graph, training: Training | None = None) -> Layout:
        """Lays out a graph.

        Raises:
            UserError: If a node is of a kind that C does not have, or a layer cannot be trained; the message names it.
        """
        network = fused(stages(graph, learning_layers(graph, training)))
        for stage in network.stages:
            if type(stage.node) not in KINDS:
                raise UserError(f"C export: {stage.node.name}: {type(stage.node).__name__} has no such form")
        if training is None:
            return cls(graph, network, None, memory(network), None)
        trained = tail(graph, network, training)
        frozen = frozen_before(graph, trained.layers[0].name)
        return cls(frozen, network, trained, memory(network, trained, training.batch), training)

    @property
    def layers(self) -> list[Layer]:
        """The trained layers."""
        return [] if self.tail is None else self.tail.trained

    @property
    def packed(self) -> list[Stage]:
        """The products whose weights stay packed."""
        trained = {layer.name for layer in self.layers}
        return [stage for stage in self.network.products if stage.node.name not in trained]

    @functools.cached_property
    def weight_bytes(self) -> int:
        """Bytes of packed weights."""
        return sum(len(packed_weights(stage, self.memory)) for stage in self.packed)

    @property
    def stored_bytes(self) -> int:
        """Bytes of stored weights, in RAM, and as they are at the start in flash."""
        return sum(layer.stored_bytes for layer in self.layers)

    @property
    def row(self) -> int:
        """Numbers of the row of unpacked weights; 0 where all are used as they lie."""
        unpacked = [stage for stage in self.packed if not is_in_fours(stage, self.memory)]
        unpacked += [layer.stage for layer in self.layers]
        return max((stage.node.kernel.codes[..., 0].size for stage in unpacked), default=0)

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of one of them."""
        return 1 if max(stage.node.kernel.width for stage in self.network.products) <= 8 else 2

    @property
    def buffer_bytes(self) -> int:
        """Bytes of the arena and the row."""
        return self.memory.size + self.row * self.unpacked_bytes
