"""One process' part of `benchmarks.native_memory`: imports neither TensorFlow nor what does, before it is asked to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.turns import peak_bytes

_STEPS = 4


def write_network(model: str, width: float, path: str) -> None:
    """Writes a network with its stored weights."""
    from benchmarks.native_step import compiled
    from wage_tf import export, integer

    graph = integer.freeze(compiled(model, "2-8-8-8", width))
    export.write_packed(path, graph, export.Card(model, "2-8-8-8", ""), accumulators=True)


def native_bytes(path: str, batch: int) -> dict[str, int]:
    """Bytes of the native engine's tensors, counted and measured."""
    from wage_tf.export import read_packed
    from wage_tf.native.network import Network

    before = _forget_peak()
    graph, _ = read_packed(path)
    network = Network(graph, batch, training=True)
    images, labels = _batch(graph.input_shape, batch)
    del graph
    for step in range(_STEPS):
        network.train_step(images, labels, 3, 0, step)
    return {"counted": network.arena_bytes + network.parameter_bytes, "measured": peak_bytes() - before}


def float_bytes(model: str, width: float, batch: int) -> dict[str, int]:
    """Bytes of float32 Keras' tensors, counted and measured; TensorFlow has made a small step before."""
    from benchmarks.native_step import compiled

    network = compiled("lenet5", "f-f-f-f", 0.1)
    network.train_on_batch(*_one_hot(*_batch(network.input_shape[1:], 2)))
    before = _forget_peak()
    network = compiled(model, "f-f-f-f", width)
    images, targets = _one_hot(*_batch(network.input_shape[1:], batch))
    for _ in range(_STEPS):
        network.train_on_batch(images, targets)
    outputs = sum(int(np.prod(layer.output.shape[1:])) for layer in network.layers[1:])
    return {"counted": 4 * (batch * outputs + 2 * network.count_params()), "measured": peak_bytes() - before}


def _batch(shape: tuple[int, ...], count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, *shape), np.uint8), np.arange(count) % 10


def _one_hot(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return images, np.eye(10, dtype=np.float32)[labels]


def _forget_peak() -> int:
    """Lets the peak of the resident memory begin anew; returns it, which is the memory resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()
