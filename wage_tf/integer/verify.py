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
from wage_tf.integer.exactness import EXACT_SUMS, error_bounds, forward_bounds, gradient_bounds
from wage_tf.integer.freezing import chain, codes_of, freeze
from wage_tf.integer.graph import Activation, Conv2D, Dense, Error, Graph, Rescale
from wage_tf.layers import QActivation, QConv2D, QDense, QError, QRescaling
from wage_tf.losses import SumSquaredError
from wage_tf.optimizers import IntegerSGD, gradient_bits

Batches = Iterable[tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass
class Row:
    """One operand of one layer: its width, the codes met, the bits its sums needed, and whether all were equal.

    Sums are those of the products that the operand enters: forward for W, backward for E, over the batch for G.
    `explained` says whether float32 accounts for every difference: the sums could pass 2^24, or what they are made of
    differed already.
    """

    layer: str
    operand: str
    width: int
    low: int = 0
    high: int = 0
    sums: int = 0
    codes_equal: bool = True
    sums_equal: bool = True
    explained: bool = True

    @property
    def equal(self) -> bool:
        """Whether codes and sums were equal."""
        return self.codes_equal and self.sums_equal

    def meet(self, codes: np.ndarray, equal: bool, excused: bool = False) -> None:
        """Widens the range by an array of codes."""
        self.low, self.high = min(self.low, int(codes.min())), max(self.high, int(codes.max()))
        self.codes_equal = self.codes_equal and equal
        self.explained = self.explained and (equal or excused)

    def meet_sums(self, sums: np.ndarray, equal: bool, excused: bool) -> None:
        """Widens the range of the sums."""
        self.sums = max(self.sums, magnitude(sums))
        self.sums_equal = self.sums_equal and equal
        self.explained = self.explained and (equal or excused)


@dataclasses.dataclass
class Exactness:
    """How often float32 could not hold the sums of one product.

    Attributes:
        batches: Batches compared.
        past: Those in which a float32 sum could pass 2^24.
        differed: Those in which Keras' sums were others than the integers.
    """

    batches: int = 0
    past: int = 0
    differed: int = 0


@dataclasses.dataclass
class Steps:
    """What training side by side showed.

    Attributes:
        done: Steps.
        differing: Steps after which a stored weight differed.
        sizes: Numbers of images that the batches held.
    """

    done: int = 0
    differing: int = 0
    sizes: set[int] = dataclasses.field(default_factory=set)


class Comparison:
    """A Keras model and the integer graph frozen from it.

    Args:
        model: A model that `freeze` takes.

    Attributes:
        rows: What was compared, by (layer, operand).
        exactness: Where float32 could not be exact, by (layer, "forward", "error" or "gradient").
        images: Number of images whose codes were compared in inference.
        steps: What training showed.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        self._layers, self._tensors = zip(*chain(model), strict=True)
        self.graph = freeze(model)
        self.rows: dict[tuple[str, str], Row] = {}
        self.exactness: dict[tuple[str, str], Exactness] = {}
        self.images = 0
        self.steps = Steps()
        for name, kernel in self.graph.kernels.items():
            weights = model.get_layer(name).quantized_kernel
            equal = _equal(weights, kernel.codes, fraction_bits(kernel.width) + kernel.alpha)
            self._row(name, "W", kernel.width).meet(kernel.codes, equal)

    @property
    def equal(self) -> bool:
        """Whether all that was compared was equal."""
        return all(row.equal for row in self.rows.values()) and not self.steps.differing

    @property
    def explained(self) -> bool:
        """Whether all that was not equal follows from float32 sums past 2^24."""
        return all(row.explained for row in self.rows.values())

    def infer(self, batches: Batches) -> None:
        """Compares the output of every node for every image."""
        probe = keras.Model(self._model.inputs[0], list(self._tensors))
        for images, _ in batches:
            images = np.asarray(images)
            outputs = engine.forward(self.graph, images)
            self._compare_forward(outputs, probe(images, training=False))
            self.images += len(images)

    def train(self, batches: Batches, learning_rate: float, seed: int) -> None:
        """Takes a training step for every batch in both and compares codes, errors, gradients and stored weights.

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
            gradients, differing = self._compare_gradients(images, targets, log2_eta, seed, step)
            self._model.train_on_batch(images, targets)
            self.graph = engine.update(self.graph, gradients, log2_eta, seed, step)
            self.steps.done += 1
            self.steps.sizes.add(len(images))
            self._compare_stored(differing)

    def _compare_forward(self, outputs: list[np.ndarray], expected: list[tf.Tensor]) -> bool:
        """Compares sums and codes of every layer and returns whether all were equal."""
        bounds = forward_bounds(self.graph, outputs)
        all_equal = entering_equal = True
        for node, codes, values, fraction in zip(
            self.graph.nodes, outputs, expected, self.graph.fractions, strict=True
        ):
            equal = _equal(values, codes, fraction)
            all_equal = all_equal and equal
            if isinstance(node, Conv2D | Dense):
                past = self._note(node.name, "forward", bounds[node.name], equal)
                self._row(node.name, "W", node.kernel.width).meet_sums(codes, equal, past or not entering_equal)
            elif isinstance(node, Rescale | Activation):
                self._row(node.name, "A", node.width).meet(codes, equal, not entering_equal)
            else:
                continue
            entering_equal = equal
        return all_equal

    def _compare_gradients(
        self, images: np.ndarray, targets: np.ndarray, log2_eta: int, seed: int, step: int
    ) -> tuple[dict[str, np.ndarray], set[str]]:
        """Compares forward and backward pass; returns the integers' gradients and the names of those that differ."""
        outputs = engine.forward(self.graph, images)
        gradients, errors = engine.backward(self.graph, outputs, images, targets.argmax(axis=-1))
        bounds = gradient_bounds(self.graph, outputs, errors, gradients)
        keras_outputs, keras_errors, keras_gradients = self._keras_pass(images, targets, list(gradients))
        forward_equal = self._compare_forward(outputs, keras_outputs)
        errors_equal = self._compare_errors(outputs, errors, keras_errors, forward_equal)
        differing = set()
        for place, _, fraction in _error_formats(self.graph, errors):
            name, kernel = self.graph.nodes[place].name, self.graph.nodes[place].kernel
            if name not in gradients:
                continue
            gradient = gradients[name]
            equal = _equal(keras_gradients[name], gradient, fraction + self.graph.fractions[place - 1])
            excused = self._note(name, "gradient", bounds[name], equal) or not (forward_equal and errors_equal[name])
            row = self._row(name, "G", kernel.gradient_width)
            row.meet(quantize_gradient(gradient, log2_eta, update_seed(seed, kernel.variable, step)), equal, excused)
            row.meet_sums(gradient, equal, excused)
            if not equal:
                differing.add(name)
        return gradients, differing

    def _compare_errors(
        self,
        outputs: list[np.ndarray],
        errors: list[np.ndarray | None],
        expected: list[tf.Tensor],
        forward_equal: bool,
    ) -> dict[str, bool]:
        """Compares the error at every kernel and the sums it gives its input; returns whether each error was equal."""
        bounds = error_bounds(self.graph, outputs, errors)
        last = self.graph.nodes[-1].name
        excused = self._note(last, "error", bounds[last], _equal(expected[-1], errors[-1], self.graph.fractions[-1]))
        errors_equal = {}
        for place, width, fraction in _error_formats(self.graph, errors):
            name, kernel = self.graph.nodes[place].name, self.graph.nodes[place].kernel
            equal = errors_equal[name] = _equal(expected[place], errors[place], fraction)
            row = self._row(name, "E", width)
            row.meet(errors[place], equal, excused or not forward_equal)
            if name in bounds:
                sums_fraction = fraction + fraction_bits(kernel.width) + kernel.alpha
                sums_equal = _equal(expected[place - 1], errors[place - 1], sums_fraction)
                past = self._note(name, "error", bounds[name], sums_equal)
                row.meet_sums(errors[place - 1], sums_equal, past or not equal)
                excused = past or not sums_equal
        return errors_equal

    def _keras_pass(
        self, images: np.ndarray, targets: np.ndarray, names: list[str]
    ) -> tuple[list[tf.Tensor], list[tf.Tensor], dict[str, tf.Tensor]]:
        """Keras' outputs of every layer, their errors, and the gradients of the kernels named."""
        kernels = [self._model.get_layer(name).kernel.value for name in names]
        x, outputs = tf.convert_to_tensor(images), []
        with tf.GradientTape() as tape:
            for layer in self._layers:
                x = layer(x)
                outputs.append(x)
            loss = SumSquaredError()(targets, x)
        errors, gradients = tape.gradient(loss, [outputs, kernels])
        return outputs, errors, dict(zip(names, gradients, strict=True))

    def _compare_stored(self, excused: set[str]) -> None:
        different = False
        for name, kernel in self.graph.kernels.items():
            stored = codes_of(self._model.get_layer(name).kernel.numpy(), kernel.fraction, name)
            equal = bool((stored == kernel.accumulators).all())
            row = self._row(name, "stored", kernel.limit.bit_length() + 1)
            row.meet(kernel.accumulators, equal, name in excused)
            different = different or not equal
        if different:
            self.steps.differing += 1
            self.graph = freeze(self._model)

    def _note(self, layer: str, sums: str, bound: int, equal: bool) -> bool:
        """Counts a batch and returns whether its sums could pass 2^24."""
        entry = self.exactness.setdefault((layer, sums), Exactness())
        past = bound >= EXACT_SUMS
        entry.batches, entry.past, entry.differed = entry.batches + 1, entry.past + past, entry.differed + (not equal)
        return past

    def _row(self, layer: str, operand: str, width: int) -> Row:
        return self.rows.setdefault((layer, operand), Row(layer, operand, width))


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


_OPERANDS = {QConv2D: "wg", QDense: "wg", QActivation: "ae", QRescaling: "a", QError: "e"}


def _error_formats(graph: Graph, errors: list[np.ndarray | None]) -> Iterator[tuple[int, int, int]]:
    """(place, width, fraction bits) of the error at every kernel that it reaches, from the last to the first."""
    width, fraction = None, None
    for place in reversed(range(len(graph.nodes))):
        node = graph.nodes[place]
        if isinstance(node, Activation | Error) and node.error_width is not None:
            width, fraction = node.error_width, fraction_bits(node.error_width)
        elif isinstance(node, Conv2D | Dense) and errors[place] is not None:
            yield place, width, fraction


def _equal(values: tf.Tensor, codes: np.ndarray, fraction: int) -> bool:
    return bool((np.asarray(values, np.float64) * 2.0**fraction == codes).all())
