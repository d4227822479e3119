"""Runs a Keras model and its integer graph side by side and compares every code: the proof, layer by layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from wage_tf.errors import UserError
from wage_tf.integer import engine
from wage_tf.integer.arithmetic import fraction_bits, magnitude, quantize_gradient, update_seed
from wage_tf.integer.exactness import EXACT_SUMS, gradient_bounds
from wage_tf.integer.freezing import codes_of, freeze
from wage_tf.integer.graph import Activation, Conv2D, Dense, Error, Graph, Rescale
from wage_tf.losses import SumSquaredError
from wage_tf.optimizers import IntegerSGD, gradient_bits

Batches = Iterable[tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass
class Row:
    """One operand of one layer: its width, the codes met, the bits its sums needed, and whether all were equal.

    Sums are those of the products that the operand enters: forward for W, backward for E, over the batch for G.
    """

    layer: str
    operand: str
    width: int
    low: int = 0
    high: int = 0
    sums: int = 0
    equal: bool = True

    def meet(self, codes: np.ndarray, equal: bool, sums: np.ndarray | None = None) -> None:
        """Widens the range by an array of codes, and the sums by those of a product."""
        self.low, self.high = min(self.low, int(codes.min())), max(self.high, int(codes.max()))
        self.equal = self.equal and bool(equal)
        if sums is not None:
            self.sums = max(self.sums, magnitude(sums))


@dataclasses.dataclass
class Steps:
    """What training side by side showed.

    Attributes:
        done: Steps.
        differing: Steps after which a stored weight differed.
        past_exact: By kernel, steps in which a float32 sum of its gradient could pass 2^24.
        inexact: By kernel, steps in which Keras' gradient was another than the integers.
    """

    done: int = 0
    differing: int = 0
    past_exact: dict[str, int] = dataclasses.field(default_factory=dict)
    inexact: dict[str, int] = dataclasses.field(default_factory=dict)


class Comparison:
    """A Keras model and the integer graph frozen from it.

    Args:
        model: A model that `freeze` takes.

    Attributes:
        rows: What was compared, by (layer, operand).
        images: Number of images whose codes were compared in inference.
        steps: What training showed.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        self._layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
        self.graph = freeze(model)
        self.rows: dict[tuple[str, str], Row] = {}
        self.images = 0
        self.steps = Steps()
        for node in self.graph.nodes:
            if isinstance(node, Conv2D | Dense):
                codes = node.kernel.codes
                weights = model.get_layer(node.name).quantized_kernel
                self._row(node.name, "W", node.kernel.width).meet(
                    codes, _equal(weights, codes, fraction_bits(node.kernel.width) + node.kernel.alpha)
                )

    @property
    def equal(self) -> bool:
        """Whether all that was compared was equal."""
        return all(row.equal for row in self.rows.values()) and not self.steps.differing

    def infer(self, batches: Batches) -> None:
        """Compares the output of every node for every image."""
        probe = keras.Model(self._model.input, [layer.output for layer in self._layers])
        for images, _ in batches:
            images = np.asarray(images)
            outputs = engine.forward(self.graph, images)
            expected = probe(images, training=False)
            for node, codes, values, fraction in zip(
                self.graph.nodes, outputs, expected, self.graph.fractions, strict=True
            ):
                equal = _equal(values, codes, fraction)
                if isinstance(node, Conv2D | Dense):
                    self._row(node.name, "W", node.kernel.width).meet(node.kernel.codes, equal, codes)
                elif isinstance(node, Rescale | Activation):
                    self._row(node.name, "A", node.width).meet(codes, equal)
            self.images += len(images)

    def train(self, batches: Batches, learning_rate: float, seed: int) -> None:
        """Takes a training step for every batch in both and compares errors, gradients and stored weights.

        Where a step ends differently, the engine goes on from Keras' weights.

        Raises:
            UserError: If the training is not integers, or the learning rate is not a power of two.
        """
        mantissa, exponent = np.frexp(learning_rate)
        if mantissa != 0.5:
            raise UserError(f"learning rate {learning_rate} is not a power of two: no shift can multiply by it")
        log2_eta = int(exponent) - 1
        self._model.compile(IntegerSGD(learning_rate, bits=gradient_bits(self._model), seed=seed), SumSquaredError())
        for step, (images, targets) in enumerate(batches):
            images, targets = np.asarray(images), np.asarray(targets)
            gradients = self._compare_backward(images, targets, log2_eta, seed, step)
            self._model.train_on_batch(images, targets)
            self.graph = engine.update(self.graph, gradients, log2_eta, seed, step)
            self.steps.done += 1
            self._compare_stored()

    def _compare_backward(
        self, images: np.ndarray, targets: np.ndarray, log2_eta: int, seed: int, step: int
    ) -> dict[str, np.ndarray]:
        outputs = engine.forward(self.graph, images)
        gradients, errors = engine.backward(self.graph, outputs, images, targets.argmax(axis=-1))
        bounds = gradient_bounds(self.graph, outputs, errors)
        keras_errors, keras_gradients = self._keras_backward(images, targets)
        for place, width, fraction in _error_formats(self.graph):
            node, codes = self.graph.nodes[place], errors[place]
            row = self._row(node.name, "E", width)
            row.meet(codes, _equal(keras_errors[place], codes, fraction), errors[place - 1])
            kernel, gradient = node.kernel, gradients[node.name]
            equal = _equal(keras_gradients[node.name], gradient, fraction + self._input_fraction(place))
            delta = quantize_gradient(gradient, log2_eta, update_seed(seed, kernel.variable, step))
            self._row(node.name, "G", kernel.gradient_width).meet(delta, equal, gradient)
            _count(self.steps.past_exact, node.name, bounds[node.name] >= EXACT_SUMS)
            _count(self.steps.inexact, node.name, not equal)
        return gradients

    def _keras_backward(self, images: np.ndarray, targets: np.ndarray) -> tuple[list, dict]:
        kernels = {name: self._model.get_layer(name).kernel for name in self.graph.kernels}
        x, outputs = tf.convert_to_tensor(images), []
        with tf.GradientTape() as tape:
            for layer in self._layers:
                x = layer(x)
                outputs.append(x)
            loss = SumSquaredError()(targets, x)
        found = tape.gradient(loss, [outputs, [kernel.value for kernel in kernels.values()]])
        return found[0], dict(zip(kernels, found[1], strict=True))

    def _compare_stored(self) -> None:
        different = False
        for name, kernel in self.graph.kernels.items():
            stored = codes_of(self._model.get_layer(name).kernel.numpy(), kernel.fraction, name)
            equal = bool((stored == kernel.accumulators).all())
            self._row(name, "stored", kernel.limit.bit_length() + 1).meet(kernel.accumulators, equal)
            different = different or not equal
        if different:
            self.steps.differing += 1
            self.graph = freeze(self._model)

    def _input_fraction(self, place: int) -> int:
        return self.graph.fractions[place - 1]

    def _row(self, layer: str, operand: str, width: int) -> Row:
        return self.rows.setdefault((layer, operand), Row(layer, operand, width))


def float_layers(model: keras.Model) -> dict[str, list[str]]:
    """What a model's patterns leave in float32: "weights", "activations", "gradients", "errors" by layer."""
    operands = {"w": "weights", "a": "activations", "g": "gradients", "e": "errors"}
    found = {}
    for layer in model.layers:
        used = "wg" if hasattr(layer, "quantized_kernel") else "a" if hasattr(layer, "bits") else ""
        floats = [operands[letter] for letter in used if getattr(layer.bits, letter) is None]
        if floats:
            found[layer.name] = floats
    return found


def _error_formats(graph: Graph) -> Iterator[tuple[int, int, int]]:
    """(place, width, fraction bits) of the error at every kernel's output, from the last to the first."""
    width, fraction = None, None
    for place in reversed(range(len(graph.nodes))):
        node = graph.nodes[place]
        if isinstance(node, Activation | Error) and node.error_width is not None:
            width, fraction = node.error_width, fraction_bits(node.error_width)
        elif isinstance(node, Conv2D | Dense):
            yield place, width, fraction


def _equal(values: tf.Tensor, codes: np.ndarray, fraction: int) -> bool:
    return bool((np.asarray(values, np.float64) * 2.0**fraction == codes).all())


def _count(counts: dict[str, int], name: str, happened: bool) -> None:
    counts[name] = counts.get(name, 0) + bool(happened)
