"""Inference and training steps by a choice of engine: NumPy's, or the native one where it was built."""

from __future__ import annotations

import numpy as np

from wage_tf.errors import UserError
from wage_tf.integer import engine
from wage_tf.integer.graph import Graph

BACKENDS = ("numpy", "native")


def infer(graph: Graph, images: np.ndarray, batch: int = 256, backend: str = "numpy") -> np.ndarray:
    """Scores' codes of any number of images; the values are codes·2^(−graph.output.fraction).

    Args:
        graph: The network.
        images: Raw pixels, uint8 [images, *graph.input_shape].
        batch: Images computed at a time.
        backend: "numpy", or "native" for the C runtime; both give the same bits.

    Returns:
        int64 [images, *graph.output.shape].

    Raises:
        UserError: If the images are not that, the backend is unknown or was not built, or cannot run the graph.
    """
    if not _is_native(backend):
        return engine.infer(graph, images, batch)
    from wage_tf.native import network

    return network.infer(graph, images, batch)


def train_step(
    graph: Graph,
    images: np.ndarray,
    labels: np.ndarray,
    log2_eta: int,
    seed: int,
    step: int,
    backend: str = "numpy",
) -> Graph:
    """Forward, backward and update on one batch, for the sum of squared errors.

    The native engine is made ready for each call; to train many steps keep a `wage_tf.native.network.Network`.

    Args:
        graph: The network, with accumulators.
        images: Raw pixels, uint8 [batch, *graph.input_shape].
        labels: Class numbers, integers [batch].
        log2_eta: log2 of the learning rate, at most 30.
        seed: The optimizer's seed.
        step: Steps done before this one.
        backend: "numpy", or "native" for the C runtime; both give the same bits.

    Returns:
        The graph with new weights.

    Raises:
        UserError: If an argument is wrong, the training is not integers, or the backend was not built.
    """
    if not _is_native(backend):
        return engine.train_step(graph, images, labels, log2_eta, seed, step)
    from wage_tf.native.network import Network

    network = Network(graph, len(images), training=True)
    network.train_step(images, labels, log2_eta, seed, step)
    return network.graph()


def _is_native(backend: str) -> bool:
    if backend not in BACKENDS:
        raise UserError(f"backend: one of {', '.join(BACKENDS)}; received {backend!r}")
    return backend == "native"
