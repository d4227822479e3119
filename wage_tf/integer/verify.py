"""The comparison of a model with its integer graph as one call, and what keeps a model from being one."""

from __future__ import annotations

import keras
import numpy as np

from wage_tf.integer.comparison import Comparison
from wage_tf.integer.targets import targets_of
from wage_tf.layers import QActivation, QConv2D, QDense, QDepthwiseConv2D, QError, QRescaling

_BATCH = 250


def verify(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    steps: int = 5,
    batch_size: int = 32,
    learning_rate: float = 8.0,
    seed: int = 0,
) -> Comparison:
    """Compares a model with its integer graph, code for code: inference, and training where it is integers.

    Args:
        model: A model that `integer.freeze` takes; it stays as it is.
        images: Raw images, uint8 [count, *shape of the model's input], all of which go through inference.
        labels: Class numbers, integers [count], or float32 targets [count, outputs], multiples of 2^-24, for training
            on the sum of squared errors; None compares inference alone.
        steps: Training steps at most, on the images in order; see `Comparison.train`.
        batch_size: Images of a step.
        learning_rate: η, a power of two.
        seed: Seed of the stochastic rounding.

    Returns:
        What was found, in `.equal` and `.rows` (one for every operand); as a string a table with a verdict.

    Raises:
        UserError: If the model has no integer graph, or images or labels do not fit it.

    Examples:
        ```python
        print(wage_tf.verify(model, test_images[:1000], test_labels[:1000]))
        ```
    """
    images = np.asarray(images)
    comparison = Comparison(model)
    starts = range(0, len(images), _BATCH)
    comparison.infer((images[start : start + _BATCH], None) for start in starts)
    if labels is not None and not comparison.floats:
        targets = targets_of(np.asarray(labels), len(images), comparison.graph.output.shape[-1])
        places = [slice(start, start + batch_size) for start in range(0, len(images), batch_size)][:steps]
        comparison.train([(images[place], targets[place]) for place in places], learning_rate, seed)
    return comparison


def float_layers(model: keras.Model) -> dict[str, list[str]]:
    """What a model's patterns leave in float32: "weights", "activations", "gradients", "errors" by layer."""
    operands = {"w": "weights", "a": "activations", "g": "gradients", "e": "errors"}
    found = {}
    for layer in model.layers:
        used = next((used for kind, used in _OPERANDS.items() if isinstance(layer, kind)), "")
        floats = [operands[letter] for letter in used if getattr(layer.bits, letter) is None]
        if floats:
            found[layer.name] = floats
    return found


_OPERANDS = {QConv2D: "wg", QDepthwiseConv2D: "wg", QDense: "wg", QActivation: "ae", QRescaling: "a", QError: "e"}
