"""A network that the exported C code and the native engine train side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.device.host import Host
from wage_tf.export import Card, Training, with_block, write_c
from wage_tf.export.c_needs import require_fit
from wage_tf.export.c_tail import frozen_before
from wage_tf.integer import Graph
from wage_tf.native.network import Network


class Pair:
    """Trains both on the same batches.

    Args:
        folder: Where the C code goes.
        graph: The network.
        training: How it is trained.
        ram: Bytes of RAM that the device has; None for any number.

    Attributes:
        folder: Where the C code is.
        host: The C code.
        needs: Bytes that a device needs for it.
        steps: Steps done.

    Raises:
        UserError: If it does not fit the device, or cannot be trained there.
    """

    def __init__(self, folder: Path, graph: Graph, training: Training, ram: int | None = None):
        needs = require_fit(graph, training, ram, None)
        self.needs = {"ram": needs.ram, "stack": needs.stack, "flash": needs.flash}
        write_c(folder, graph, Card("network", "", "", ()), training)
        self.folder, self.host, self.steps = folder, Host(folder), 0
        self._graph, self._training = frozen_before(graph, training.train_from), training
        self._engine = Network(self._graph, training.batch, training=True, threads=1)
        self._log2_rate = training.log2_eta

    def set_learning_rate(self, log2: int) -> None:
        """The rate of both is 2^log2."""
        self.host.set_learning_rate(log2)
        self._log2_rate = log2

    def train_step(self, images: np.ndarray, labels: np.ndarray) -> None:
        """One step of both, on raw pixels and class numbers."""
        self.host.train_step(images, labels)
        self._engine.train_step(images, labels, self._log2_rate, self._training.seed, self.steps)
        self.steps += 1

    def check(self) -> Graph:
        """Compares all weights and returns the graph with them.

        Raises:
            ValueError: If the C code's are not the engine's.
        """
        found, expected = with_block(self._graph, self.host.save()), self._engine.graph()
        for name, parameter in expected.parameters.items():
            if not np.array_equal(found.parameters[name].accumulators, parameter.accumulators):
                raise ValueError(f"{name}: the C code's weights are not the engine's after {self.steps} steps")
        return found
