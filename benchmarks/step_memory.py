"""One process' part of `benchmarks.native_memory`: imports neither TensorFlow nor what does, before it is asked to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.turns import peak_bytes

_STEPS = 4


def write_network(model: str, width: float, path: str) -> None:
    """Writes a network with its stored weights."""
    from benchmarks.train_step import compiled
    from wage_tf import export, integer

    graph = integer.freeze(compiled(model, "2-8-8-8", width, 2)[0])
    export.write_packed(path, graph, export.Card(model, "2-8-8-8", ""), accumulators=True)


def native_bytes(path: str, batch: int) -> dict[str, int]:
    """Bytes of the native engine's tensors, counted and measured."""
    from wage_tf.export import read_packed
    from wage_tf.native.network import Network

    before = _forget_peak()
    graph, _ = read_packed(path)
    network = Network(graph, batch, training=True)
    images = np.random.default_rng(0).integers(0, 256, (batch, *graph.input_shape), np.uint8)
    labels = np.arange(batch) % 10
    del graph
    for step in range(_STEPS):
        network.train_step(images, labels, 3, 0, step)
    return {"counted": network.arena_bytes + network.parameter_bytes, "measured": peak_bytes() - before}


def float_bytes(model: str, width: float, batch: int) -> dict[str, int]:
    """Bytes of float32 Keras' tensors, counted and measured; TensorFlow has made a small step before."""
    from benchmarks.train_step import compiled

    network, images, targets = compiled("lenet5", "f-f-f-f", 0.1, 2)
    network.train_on_batch(images, targets)
    before = _forget_peak()
    network, images, targets = compiled(model, "f-f-f-f", width, batch)
    for _ in range(_STEPS):
        network.train_on_batch(images, targets)
    outputs = sum(int(np.prod(layer.output.shape[1:])) for layer in network.layers[1:])
    return {"counted": 4 * (batch * outputs + 2 * network.count_params()), "measured": peak_bytes() - before}


def _forget_peak() -> int:
    """Lets the peak of the resident memory begin anew; returns it, which is the memory resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()
