"""Runs a Keras model and its integer graph side by side and compares every code: the proof, layer by layer."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from wage_tf.errors import UserError
from wage_tf.integer import engine
from wage_tf.integer.arithmetic import quantize_gradient, update_seed
from wage_tf.integer.exactness import EXACT_SUMS, error_bounds, forward_bounds, gradient_bounds
from wage_tf.integer.freezing import read
from wage_tf.integer.graph import IMAGES, Graph, float_operands
from wage_tf.integer.keras_pass import copy_of, equals, layer_outputs, pass_of
from wage_tf.integer.nodes import Activation, Node, Product, Rescale
from wage_tf.integer.report import report
from wage_tf.integer.rows import Exactness, Row, Steps
from wage_tf.integer.targets import as_tensor
from wage_tf.integer.tensors import Tensor
from wage_tf.integer.weights import codes_of
from wage_tf.losses import SumSquaredError
from wage_tf.optimizers import IntegerSGD, gradient_bits
from wage_tf.schedules import log2_of_rate

if TYPE_CHECKING:
    from wage_tf.native.network import Network

Batches = Iterable[tuple[np.ndarray, np.ndarray]]
_EVERY_CODE = 10
_GRADIENT = {"kernel": "G", "bias": "bias G"}
_STORED = {"kernel": "stored", "bias": "bias stored"}


class Comparison:
    """A Keras model and the integer graph frozen from it.

    Args:
        model: A model that `freeze` takes. It stays as it is: training is compared on a copy.

    Attributes:
        graph: The integer graph, trained as far as the model has been.
        floats: What keeps the training from being integers, `graph.float_operands` and what a caller adds, one line
            each.
        rows: What was compared, by (layer, operand).
        exactness: Where float32 could not be exact, by (layer, "forward", "error" or "gradient").
        images: Number of images whose codes were compared in inference.
        steps: What training showed.
    """

    def __init__(self, model: keras.Model):
        self._follow(model)
        self.rows: dict[tuple[str, str], Row] = {}
        self.exactness: dict[tuple[str, str], Exactness] = {}
        self.images = 0
        self.steps = Steps()
        self.floats = float_operands(self.graph)
        for name, kernel in self.graph.kernels.items():
            equal = equals(self._layers[name].quantized_kernel, Tensor(kernel.codes, kernel.log2_scale))
            self._row(name, "W", kernel.width).meet(kernel.codes, equal)

    @functools.cached_property
    def _worker(self) -> ThreadPoolExecutor:
        """The thread in which the native engine takes its steps."""
        return ThreadPoolExecutor(1)

    def _follow(self, model: keras.Model) -> None:
        self._model = model
        self.graph, self._calls = read(model)
        self._layers = {node.name: call.layer for call in self._calls for node in call.nodes}
        self._outputs = {node.name: call.output for call in self._calls for node in call.nodes}
        self._readers: dict[str, list[Any]] = {
            node.name: [reader for reader in self.graph.nodes if node.name in reader.inputs]
            for node in self.graph.nodes
        }

    def __str__(self) -> str:
        return report(self)

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
        for images, _ in batches:
            images = np.asarray(images)
            self._compare_forward(engine.forward(self.graph, images), layer_outputs(self._calls, images))
            self.images += len(images)

    def train(self, batches: Batches, learning_rate: float, seed: int) -> None:
        """Takes a training step for every batch in both and compares codes, errors, gradients and stored weights.

        After ten steps of which every code is compared, the native engine takes those that follow, where it was built:
        they are compared by their stored weights alone, and code for code where these differ. Where a step ends
        differently, the engine goes on from Keras' weights.

        Raises:
            UserError: If the training is not integers, or the learning rate is not a power of two.
        """
        log2_eta = log2_of_rate(learning_rate)
        self._follow(copy_of(self._model))
        self._model.compile(IntegerSGD(learning_rate, bits=gradient_bits(self._model), seed=seed), SumSquaredError())
        network = None
        for step, (images, targets) in enumerate(batches):
            images, targets = np.asarray(images), np.asarray(targets)
            self.steps.done += 1
            self.steps.sizes.add(len(images))
            if step == _EVERY_CODE and _are_one_hot(targets):
                network = _native_network(self.graph, max(self.steps.sizes))
            elif network is not None and len(images) > network.batch:
                network = _native_network(network.graph(), len(images))
            if network is not None and self._same_step(network, images, targets, log2_eta, seed, step):
                continue
            gradients, differing = self._compare_gradients(images, targets, log2_eta, seed, step)
            self._model.train_on_batch(images, targets)
            self.graph = engine.update(self.graph, gradients, log2_eta, seed, step)
            self.steps.every_code += 1
            if network is not None:
                self._compare_engines(network)
            self._compare_stored(differing)
            if network is not None:
                network.load(self.graph)
        if network is not None:
            self.graph = network.graph()

    def _compare_engines(self, network: Network) -> None:
        """Compares the native engine's stored weights after a step with NumPy's."""
        for name, stored in network.stored.items():
            node, field = name.rsplit("/", 1)
            accumulators = self.graph.parameters[name].accumulators
            self.rows[node, _STORED[field]].meet(accumulators, np.array_equal(accumulators.ravel(), stored))

    def _same_step(
        self, network: Network, images: np.ndarray, targets: np.ndarray, log2_eta: int, seed: int, step: int
    ) -> bool:
        """Takes a step by both engines at once; where stored weights differ then, it is undone in Keras."""
        labels = targets.argmax(axis=-1)
        before = self._model.get_weights()
        native_step = self._worker.submit(network.train_step, images, labels, log2_eta, seed, step)
        self._model.train_on_batch(images, targets)
        native_step.result()
        for name, stored in network.stored.items():
            node, field = name.rsplit("/", 1)
            fraction = self.graph.parameters[name].fraction
            values = getattr(self._layers[node], field).numpy().ravel() * np.float32(2.0**fraction)
            if not np.array_equal(values, stored):
                self._model.set_weights(before)
                self._model.optimizer.iterations.assign(step)
                self.graph, _ = read(self._model)
                return False
        for name, stored in network.stored.items():
            node, field = name.rsplit("/", 1)
            self.rows[node, _STORED[field]].meet(stored, equal=True)
        return True

    def _compare_forward(self, outputs: dict[str, Tensor], expected: dict[str, tf.Tensor]) -> bool:
        """Compares sums and codes of every layer and returns whether all were equal."""
        bounds = forward_bounds(self.graph, outputs)
        equal = {name: equals(values, outputs[name]) for name, values in expected.items()} | {IMAGES: True}
        inexact_at = {IMAGES: False}
        for node in self.graph.nodes:
            same, codes = equal[self._outputs[node.name]], outputs[node.name].codes
            past = node.name in bounds and self._note(node.name, "forward", bounds[node.name], same)
            differing = [name for name in node.inputs if not equal[self._outputs.get(name, IMAGES)]]
            inexact = inexact_at[node.name] = past or any(inexact_at[name] for name in differing)
            if isinstance(node, Product):
                self._row(node.name, "W", node.kernel.width).meet_sums(codes, same, inexact)
            elif isinstance(node, Rescale | Activation):
                self._row(node.name, "A", node.width).meet(codes, same, inexact)
            elif node.name in bounds:
                width = self.graph.signals[node.name].largest.bit_length() + 1
                self._row(node.name, "sum", width).meet(codes, same, inexact)
        return all(equal.values())

    def _compare_gradients(
        self, images: np.ndarray, targets: np.ndarray, log2_eta: int, seed: int, step: int
    ) -> tuple[dict[str, Tensor], set[str]]:
        """Compares forward and backward pass; returns the integers' gradients and the names of those that differ."""
        outputs = engine.forward(self.graph, images)
        gradients, errors = engine.backward(self.graph, outputs, as_tensor(targets))
        bounds = gradient_bounds(self.graph, outputs, errors)
        expected = pass_of(self._calls, images, targets, self._variables(gradients))
        forward_equal = self._compare_forward(outputs, expected.outputs)
        errors_equal = self._compare_errors(outputs, errors, expected.errors, forward_equal)
        parameters, differing = self.graph.parameters, set()
        for name, gradient in gradients.items():
            node, field = name.rsplit("/", 1)
            equal = equals(expected.gradients[name], gradient)
            past = self._note(node if field == "kernel" else name, "gradient", bounds[name], equal)
            inexact = past or not (forward_equal and errors_equal[node])
            row = self._row(node, _GRADIENT[field], parameters[name].gradient_width)
            words = update_seed(seed, parameters[name].variable, step)
            row.meet(quantize_gradient(gradient.codes, log2_eta, words), equal, inexact)
            row.meet_sums(gradient.codes, equal, inexact)
            if not equal:
                differing.add(name)
        return gradients, differing

    def _compare_errors(
        self,
        outputs: dict[str, Tensor],
        errors: dict[str, Tensor],
        expected: dict[str, tf.Tensor],
        forward_equal: bool,
    ) -> dict[str, bool]:
        """Compares the error at every kernel and the sums it gives its input; returns whether each error was equal."""
        bounds = error_bounds(self.graph, outputs, errors)
        equal: dict[str, bool] = {}
        inexact: dict[str, bool] = {}
        for node in reversed([node for node in self.graph.nodes if node.name in errors]):
            readers = self._readers[node.name]
            e = errors[node.name]
            known = node.name in expected
            equal[node.name] = equals(expected[node.name], e) if known else equal[readers[0].name]
            makers = [*readers, *([] if len(readers) == 1 else [node])]
            past = any(bounds.get(maker.name, 0) >= EXACT_SUMS for maker in makers)
            differed = any(inexact[reader.name] for reader in readers if not equal[reader.name])
            inexact[node.name] = past or differed or not forward_equal
            if isinstance(node, Product):
                row = self._row(node.name, "E", self._error_width(node))
                row.meet(e.codes, equal[node.name], inexact[node.name])
        for node in self.graph.nodes:
            given = [name for name in node.inputs if name in errors]
            if node.name not in bounds:
                continue
            same = all(equal[name] for name in given or [node.name])
            past = self._note(node.name, "error", bounds[node.name], same)
            if isinstance(node, Product) and given:
                row = self._row(node.name, "E", self._error_width(node))
                row.meet_sums(errors[given[0]].codes, same, past or not equal[node.name])
        return equal

    def _error_width(self, node: Node) -> int:
        """The widest k_E of the nodes that quantize a node's error."""
        widths = [
            reader.error_width if reader.quantizes_errors else self._error_width(reader)
            for reader in self._readers[node.name]
        ]
        return max(widths)

    def _variables(self, names: Iterable[str]) -> dict[str, tf.Variable]:
        """Keras' variables of parameters of the graph."""
        places = {name: name.rsplit("/", 1) for name in names}
        return {name: getattr(self._layers[node], field).value for name, (node, field) in places.items()}

    def _compare_stored(self, inexact: set[str]) -> None:
        different = False
        for name, parameter in self.graph.parameters.items():
            node, field = name.rsplit("/", 1)
            stored = codes_of(getattr(self._layers[node], field).numpy(), parameter.fraction, name)
            equal = bool((stored.ravel() == parameter.accumulators.ravel()).all())
            row = self._row(node, _STORED[field], parameter.limit.bit_length() + 1)
            row.meet(parameter.accumulators, equal, name in inexact)
            different = different or not equal
        if different:
            self.steps.differing += 1
            self.graph, _ = read(self._model)

    def _note(self, layer: str, sums: str, bound: int, equal: bool) -> bool:
        """Counts a batch and returns whether its sums could pass 2^24."""
        entry = self.exactness.setdefault((layer, sums), Exactness())
        past = bound >= EXACT_SUMS
        entry.batches, entry.past, entry.differed = entry.batches + 1, entry.past + past, entry.differed + (not equal)
        return past

    def _row(self, layer: str, operand: str, width: int) -> Row:
        return self.rows.setdefault((layer, operand), Row(layer, operand, width))


def _are_one_hot(targets: np.ndarray) -> bool:
    return np.array_equal(targets, np.arange(targets.shape[-1]) == targets.argmax(axis=-1)[:, None])


def _native_network(graph: Graph, batch: int) -> Network | None:
    """The native engine for a graph's training, on half of the CPUs; None where it is absent or declines the graph."""
    from wage_tf import machine, native
    from wage_tf.native.network import Network

    if not native.available():
        return None
    try:
        return Network(graph, batch, training=True, threads=max(1, machine.cpus() // 2))
    except UserError:
        return None
