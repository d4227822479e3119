"""Forward, backward and update of an integer graph: a training step without a floating-point number.

outputs = forward(graph, images)              # the output of every node, by name
gradients, errors = backward(graph, outputs, labels)
graph = update(graph, gradients, log2_eta=3, seed=0, step=0)
"""

from __future__ import annotations

import collections

import numpy as np

from wage_tf.errors import UserError
from wage_tf.integer.arithmetic import LARGEST_LOG2_ETA
from wage_tf.integer.graph import IMAGES, Graph, float_operands, needing_errors
from wage_tf.integer.tensors import Tensor, sum_of, total


def forward(graph: Graph, images: np.ndarray) -> dict[str, Tensor]:
    """Runs the graph.

    Args:
        graph: The network.
        images: Raw pixels, uint8 [batch, *graph.input_shape].

    Returns:
        The output of every node by name, and the images under `IMAGES`. Codes are int8 or int16 after Rescale and
        Activation, int32 or int64 where something was added up. The last are the scores.

    Raises:
        UserError: If the images are not uint8 of the graph's shape.
    """
    if images.dtype != np.uint8 or images.shape[1:] != graph.input_shape:
        raise UserError(
            f"images: uint8 of shape [batch, {', '.join(map(str, graph.input_shape))}]; "
            f"received {images.dtype} of shape {images.shape}"
        )
    outputs = {IMAGES: Tensor(images, 0)}
    for node in graph.nodes:
        outputs[node.name] = node.forward(*(outputs[name] for name in node.inputs))
    return outputs


def infer(graph: Graph, images: np.ndarray, batch: int = 256) -> np.ndarray:
    """Scores' codes of any number of images, int64 [images, ...], computed `batch` images at a time."""
    last = graph.nodes[-1].name
    scores = [forward(graph, images[i : i + batch])[last].codes for i in range(0, len(images), batch)]
    return np.concatenate(scores).astype(np.int64) if scores else np.zeros((0, *graph.output.shape), np.int64)


def backward(
    graph: Graph, outputs: dict[str, Tensor], labels: np.ndarray | Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Errors and gradients of the sum of squared errors ½·Σ(y − t)².

    Args:
        graph: The network.
        outputs: What `forward` returned.
        labels: Class numbers, integers [batch], for one-hot targets t; or t themselves, a Tensor of the scores' shape.

    Returns:
        Gradient sums of every parameter that is not frozen, int32 or int64, by its name in `Graph.parameters`; and the
        error of every node's output by name, where a parameter at or before the node needs it.

    Raises:
        UserError: If a kernel's errors or gradients are float32 by its pattern, labels do not fit the scores, or a sum
            of errors could pass 62 bits.
    """
    floats = float_operands(graph)
    if floats:
        raise UserError(f"integer training: not all operands are integers: {'; '.join(floats)}")
    needed = needing_errors(graph)
    last = graph.nodes[-1].name
    arriving: dict[str, list[Tensor]] = collections.defaultdict(list)
    targets = labels if isinstance(labels, Tensor) else _one_hot(outputs[last], labels)
    arriving[last].append(_loss_error(outputs[last], targets))
    gradients: dict[str, Tensor] = {}
    errors: dict[str, Tensor] = {}
    for node in reversed(graph.nodes):
        if node.name not in needed:
            continue
        e = errors[node.name] = total(arriving.pop(node.name))
        inputs = [outputs[name] for name in node.inputs]
        gradients |= {f"{node.name}/{field}": g for field, g in node.gradients(e, *inputs).items()}
        if needed.intersection(node.inputs):
            for name, error in zip(node.inputs, node.backward(e, *inputs), strict=True):
                arriving[name].append(error)
    return gradients, errors


def update(
    graph: Graph, gradients: dict[str, Tensor], log2_eta: int, seed: int, step: int, random_width: int = 16
) -> Graph:
    """IntegerSGD: W ← clip(W − Q_G(g)) on the accumulators of every parameter that has a gradient.

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
    parameters, changed = graph.parameters, {}
    for name, gradient in gradients.items():
        try:
            changed[name] = parameters[name].updated(gradient, log2_eta, seed, step, random_width)
        except UserError as error:
            raise UserError(f"integer training: {name}: {error}") from None
    return graph.with_parameters(changed)


def train_step(
    graph: Graph, images: np.ndarray, labels: np.ndarray | Tensor, log2_eta: int, seed: int, step: int
) -> Graph:
    """Forward, backward and update on one batch; arguments as in `forward`, `backward` and `update`."""
    gradients, _ = backward(graph, forward(graph, images), labels)
    return update(graph, gradients, log2_eta, seed, step)


def _loss_error(scores: Tensor, targets: Tensor) -> Tensor:
    """y − t, in the finer units of the two."""
    if targets.codes.shape != scores.codes.shape or targets.codes.dtype.kind != "i":
        raise UserError(
            f"targets: integers of the scores' shape {scores.codes.shape}; "
            f"received {targets.codes.dtype} of shape {targets.codes.shape}"
        )
    return sum_of((scores, targets.replace(-targets.codes)), max(scores.fraction, targets.fraction))


def _one_hot(scores: Tensor, labels: np.ndarray) -> Tensor:
    """1 for the right class, 0 for others."""
    codes = scores.codes
    classes = codes.shape[-1]
    if codes.ndim != 2 or labels.shape != codes.shape[:1] or labels.dtype.kind not in "iu":
        raise UserError(
            f"labels: class numbers, integers [batch] for scores {codes.shape}; "
            f"received {labels.dtype} of shape {labels.shape}"
        )
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise UserError(f"labels: class numbers 0 to {classes - 1}; received {wrong[0]}")
    return Tensor((np.arange(classes) == labels[:, None]).astype(np.int64), 0)
