"""Forward, backward and update of an integer graph: a training step without a floating-point number.

outputs = forward(graph, images)              # codes of every node
gradients, errors = backward(graph, outputs, labels)
graph = update(graph, gradients, log2_eta=3, seed=0, step=0)
"""

from __future__ import annotations

import dataclasses

import numpy as np

from wage_tf.errors import UserError
from wage_tf.integer import linear
from wage_tf.integer.arithmetic import (
    LARGEST_LOG2_ETA,
    code_dtype,
    fraction_bits,
    quantize,
    quantize_error,
    quantize_gradient,
    saturated,
    update_seed,
)
from wage_tf.integer.graph import (
    Activation,
    Conv2D,
    Dense,
    Error,
    Flatten,
    Graph,
    Kernel,
    MaxPool2D,
    Node,
    Rescale,
    float_operands,
)


def forward(graph: Graph, images: np.ndarray) -> list[np.ndarray]:
    """Runs the chain.

    Args:
        graph: The network.
        images: Raw pixels, uint8 [batch, height, width, channels].

    Returns:
        The codes that leave every node: int8 or int16 after Rescale and Activation, int32 or int64 after a kernel.
        The last are the scores, values code·2^(−graph.fractions[-1]).

    Raises:
        UserError: If the images are not uint8 of the graph's shape.
    """
    if images.dtype != np.uint8 or images.shape[1:] != graph.input_shape:
        raise UserError(
            f"images: uint8 of shape [batch, {', '.join(map(str, graph.input_shape))}]; "
            f"received {images.dtype} of shape {images.shape}"
        )
    outputs = []
    x, fraction = images, 0
    for node, fraction_out in zip(graph.nodes, graph.fractions, strict=True):
        x = node_forward(node, x, fraction)
        fraction = fraction_out
        outputs.append(x)
    return outputs


def infer(graph: Graph, images: np.ndarray, batch: int = 256) -> np.ndarray:
    """Scores' codes of any number of images, int64 [images, ...], computed `batch` images at a time."""
    scores = [forward(graph, images[i : i + batch])[-1] for i in range(0, len(images), batch)]
    return np.concatenate(scores).astype(np.int64) if scores else np.zeros((0, *graph.shapes[-1]), np.int64)


def backward(
    graph: Graph, outputs: list[np.ndarray], images: np.ndarray, labels: np.ndarray
) -> tuple[dict[str, np.ndarray], list[np.ndarray | None]]:
    """Errors and gradients of the sum of squared errors ½·Σ(y − t)² with one-hot targets t.

    Args:
        graph: The network.
        outputs: What `forward` returned.
        images: The images that went in.
        labels: Class numbers, integers [batch].

    Returns:
        Gradient sums by name of every kernel that is not frozen, int32 or int64; and the error of every node's
        output (None before the first of these kernels).

    Raises:
        UserError: If a kernel's errors or gradients are float32 by its pattern, or labels do not fit the scores.
    """
    floats = float_operands(graph)
    if floats:
        raise UserError(f"integer training: not all operands are integers: {'; '.join(floats)}")
    e = _loss_error(outputs[-1], graph.fractions[-1], labels)
    inputs, fractions = [images, *outputs[:-1]], [0, *graph.fractions[:-1]]
    gradients: dict[str, np.ndarray] = {}
    errors: list[np.ndarray | None] = [None] * len(graph.nodes)
    waiting = {name for name, kernel in graph.kernels.items() if kernel.variable is not None}
    for place in reversed(range(len(graph.nodes))):
        node, x = graph.nodes[place], inputs[place]
        errors[place] = e
        if node.name in waiting:
            gradients[node.name] = kernel_gradient(node, x, e)
            waiting.remove(node.name)
        if not waiting:
            break
        e = node_backward(node, x, fractions[place], e)
    return gradients, errors


def update(
    graph: Graph, gradients: dict[str, np.ndarray], log2_eta: int, seed: int, step: int, random_width: int = 16
) -> Graph:
    """IntegerSGD: W ← clip(W − Q_G(g)) on the accumulators of every kernel that has a gradient.

    Args:
        graph: The network, with accumulators.
        gradients: What `backward` returned.
        log2_eta: log2 of the learning rate, at most 30.
        seed: The optimizer's seed.
        step: Steps done before this one.
        random_width: Bits of the random integers.

    Returns:
        The graph with new accumulators and codes.

    Raises:
        UserError: If a kernel has no accumulators, or the learning rate is too large.
    """
    if log2_eta > LARGEST_LOG2_ETA:
        raise UserError(f"learning rate: at most 2^{LARGEST_LOG2_ETA}; received 2^{log2_eta}")
    kernels = graph.kernels
    return graph.with_kernels(
        {name: _updated(name, kernels[name], g, log2_eta, seed, step, random_width) for name, g in gradients.items()}
    )


def train_step(graph: Graph, images: np.ndarray, labels: np.ndarray, log2_eta: int, seed: int, step: int) -> Graph:
    """Forward, backward and update on one batch."""
    gradients, _ = backward(graph, forward(graph, images), images, labels)
    return update(graph, gradients, log2_eta, seed, step)


def kernel_gradient(node: Conv2D | Dense, x: np.ndarray, e: np.ndarray) -> np.ndarray:
    """Gradient sums of a kernel from its input's codes and its output's error, in the shape of its codes."""
    if isinstance(node, Dense):
        return linear.product(x.T, e.T)
    return linear.convolve_gradient(x, e, node.kernel.codes.shape[:2], node.strides, node.padding)


def node_forward(node: Node, x: np.ndarray, fraction: int) -> np.ndarray:
    """Codes of a node's output from those of its input `x`, which have `fraction` fraction bits."""
    match node:
        case Rescale():
            return node.codes[x]
        case Conv2D():
            return linear.convolve(x, node.kernel.codes, node.strides, node.padding)
        case Dense():
            return linear.product(x, node.kernel.codes.T)
        case MaxPool2D():
            return linear.max_pool(x, node.window, node.strides, node.padding)
        case Flatten():
            return x.reshape(len(x), -1)
        case Activation():
            return quantize(np.maximum(x, 0) if node.relu else x, fraction, node.width)
        case Error():
            return x


def node_backward(node: Node, x: np.ndarray, fraction: int, e: np.ndarray) -> np.ndarray:
    """Error of a node's input `x`, which has `fraction` fraction bits, from the error `e` of its output."""
    match node:
        case Conv2D():
            return linear.convolve_error(e, node.kernel.codes, x.shape, node.strides, node.padding)
        case Dense():
            return linear.product(e, node.kernel.codes)
        case MaxPool2D():
            return linear.max_pool_error(x, e, node.window, node.strides, node.padding)
        case Flatten():
            return e.reshape(x.shape)
        case Activation():
            kept = np.where(saturated(np.maximum(x, 0) if node.relu else x, fraction, node.width), 0, e)
            kept = _quantized_error(kept, node.error_width)
            return np.where(x > 0, kept, 0) if node.relu else kept
        case Error():
            return _quantized_error(e, node.error_width)


def _quantized_error(e: np.ndarray, width: int | None) -> np.ndarray:
    return e if width is None else quantize_error(e, width)


def _loss_error(scores: np.ndarray, fraction: int, labels: np.ndarray) -> np.ndarray:
    """y − t, in the units of the scores, where one is 2^fraction."""
    classes = scores.shape[-1]
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or labels.dtype.kind not in "iu":
        raise UserError(
            f"labels: class numbers, integers [batch] for scores {scores.shape}; "
            f"received {labels.dtype} of shape {labels.shape}"
        )
    strangers = labels[(labels < 0) | (labels >= classes)]
    if strangers.size:
        raise UserError(f"labels: class numbers 0 to {classes - 1}; received {strangers[0]}")
    return scores.astype(np.int64) - ((np.arange(classes) == labels[:, None]).astype(np.int64) << fraction)


def _updated(
    name: str, kernel: Kernel, gradient: np.ndarray, log2_eta: int, seed: int, step: int, random_width: int
) -> Kernel:
    if kernel.accumulators is None:
        raise UserError(f"integer training: {name} has no accumulators: this graph is for inference only")
    words = update_seed(seed, kernel.variable, step)
    delta = quantize_gradient(gradient, log2_eta, words, random_width)
    delta <<= kernel.fraction - fraction_bits(kernel.gradient_width)
    accumulators = np.clip(kernel.accumulators - delta, -kernel.limit, kernel.limit).astype(code_dtype(kernel.limit))
    codes = quantize(accumulators, kernel.fraction, kernel.width)
    return dataclasses.replace(kernel, accumulators=accumulators, codes=codes)
