"""A network in the C runtime's memory: inference and training steps on NumPy arrays."""

from __future__ import annotations

import numpy as np

from wage_tf import machine, native
from wage_tf.errors import UserError
from wage_tf.integer.arithmetic import LARGEST_LOG2_ETA
from wage_tf.integer.graph import Graph, float_operands
from wage_tf.integer.nodes import Bias
from wage_tf.native import arguments, bounds
from wage_tf.native.program import Node, Tensor
from wage_tf.native.structures import Structures, with_numbers

_LARGEST_BATCH = 2**20


class Network:
    """A graph made ready to run.

    Args:
        graph: The network. It stays as it is, and is not kept: once nothing else holds it, its memory is free.
        batch: The most images of one call.
        training: Whether it is trained; inference alone needs much less memory.
        threads: How many work; None takes the CPUs of this process. The results do not depend on it.
        isa: Instruction set; None takes WAGE_ISA or the fastest.
        keep: Gives every value of a step its own memory, so that it can be looked at (`activations`, `errors`,
            `gradients`).

    Attributes:
        program: What runs.
        structures: The same in C.
        isa: The instruction set.

    Raises:
        UserError: If the native engine is not built, the graph has a node that it has not, its training is not integer
            arithmetic, or its sums pass 62 bits.
    """

    def __init__(
        self,
        graph: Graph,
        batch: int,
        training: bool = False,
        threads: int | None = None,
        isa: str | None = None,
        keep: bool = False,
    ):
        extension = native.runtime()
        self._ffi, self._lib = extension.ffi, extension.lib
        self._refusals = {
            self._lib.WAGE_RANGE: "differ too much in size: their sum passes 62 bits",
            self._lib.WAGE_SIZE: "pass 16-bit codes: put a QError behind the layer that has several readers",
        }
        self.isa = native.instruction_set(isa)
        self.batch = arguments.count("batch", batch, _LARGEST_BATCH)
        self.threads = arguments.count("threads", threads or machine.cpus(), 256)
        self.training = training
        if training and (floats := float_operands(graph)):
            raise UserError(f"integer training: not all operands are integers: {'; '.join(floats)}")
        self.program = bounds.proven_program(graph, self.batch, training)
        if training:
            bounds.require_trainable(self.program)
        self.structures = Structures(self.program, self.batch, training, self.threads, self.isa, keep)
        self._net, self._state = self.structures.net, self.structures.state
        self._parameters = self.structures.parameters
        self._graph = graph.with_parameters({name: parameter for name, (parameter, _) in self._parameters.items()})
        self._pool = self._ffi.gc(self._lib.wage_pool_open(self.threads), self._lib.wage_pool_close)
        if self._pool == self._ffi.NULL:
            raise UserError(f"native engine: this machine gives no {self.threads} threads")
        self._lib.wage_pool_pack(self._pool, self._net, self._state, training)

    def infer(self, images: np.ndarray) -> np.ndarray:
        """Scores' codes, int64 [images, ...], of at most `batch` images, uint8 [images, *graph.input_shape].

        Raises:
            UserError: If the images are not that.
        """
        images = arguments.images(images, self._graph.input_shape, self.batch)
        pointer = self._ffi.from_buffer("uint8_t[]", images)
        self._lib.wage_pool_infer(self._pool, self._net, self._state, pointer, len(images))
        return self.scores(len(images))

    def train_step(
        self, images: np.ndarray, labels: np.ndarray, log2_eta: int, seed: int, step: int, random_width: int = 16
    ) -> np.ndarray:
        """Forward, backward and update on one batch, as `wage_tf.integer.train_step`.

        Args:
            images: uint8 [images, *graph.input_shape], at most `batch`.
            labels: Class numbers, integers [images].
            log2_eta: log2 of the learning rate, at most 30.
            seed: The optimizer's seed.
            step: Steps done before this one.
            random_width: Bits of the random integers, 1 to 24.

        Returns:
            The scores' codes before the update, int64 [images, classes].

        Raises:
            UserError: If an argument is wrong, before anything is changed.
        """
        images = arguments.images(images, self._graph.input_shape, self.batch)
        if len(self._graph.output.shape) != 1:
            raise UserError(f"labels: class numbers, for scores [batch, classes]; received {self._graph.output.shape}")
        labels = arguments.labels(labels, len(images), self.program.scores.size)
        arguments.count("random_width", random_width, 24)
        if not -62 <= log2_eta <= LARGEST_LOG2_ETA:
            raise UserError(f"learning rate: 2^-62 to 2^{LARGEST_LOG2_ETA}; received 2^{log2_eta}")
        state = self._state
        state.log2_eta, state.random_width = log2_eta, random_width
        state.seed, state.step = seed % 2**32, step % 2**32
        status = self._lib.wage_pool_train_step(
            self._pool,
            self._net,
            state,
            self._ffi.from_buffer("uint8_t[]", images),
            self._ffi.from_buffer("int32_t[]", labels),
            len(images),
        )
        if status != self._lib.WAGE_OK:
            raise UserError(f"native engine: errors that meet {self._refusals[status]}")
        return self.scores(len(images))

    def scores(self, count: int) -> np.ndarray:
        """The scores that the last call left, int64 [count, ...]."""
        return self.values(self.program.scores, count).astype(np.int64).reshape(count, *self._graph.output.shape)

    def graph(self) -> Graph:
        """The graph with the weights as they are now."""
        found = {}
        for name, (parameter, (codes, stored)) in self._parameters.items():
            own = parameter.codes if isinstance(parameter, Bias) else parameter.accumulators
            codes = None if codes is None else codes.astype(parameter.codes.dtype)
            found[name] = with_numbers(parameter, codes, None if stored is None else stored.astype(own.dtype))
        return self._graph.with_parameters(found)

    @property
    def stored(self) -> dict[str, np.ndarray]:
        """The stored weights as they are now by their name in `Graph.parameters`, flat views."""
        return {name: stored for name, (_, (_, stored)) in self._parameters.items() if stored is not None}

    def load(self, graph: Graph) -> None:
        """Takes over the weights of a graph that differs in nothing else."""
        for name, parameter in graph.parameters.items():
            codes, stored = self._parameters[name][1]
            if codes is not None:
                codes[...] = parameter.codes.reshape(-1)
            if stored is not None:
                stored[...] = (parameter.codes if codes is None else parameter.accumulators).reshape(-1)
        self._lib.wage_pool_pack(self._pool, self._net, self._state, self.training)

    def values(self, tensor: Tensor, count: int) -> np.ndarray:
        """A tensor's codes or sums without its border, [count, height, width, channels], a view."""
        view, (height, width, channels) = self.structures.view, tensor.shape
        if tensor.sums:
            return view(tensor.data, self.structures.sum_dtype, (count, height, width, channels))
        whole = view(tensor.data, self.structures.code_dtype, (count, tensor.rows, tensor.columns, channels))
        top, left = tensor.border.top, tensor.border.left
        return whole[:, top : top + height, left : left + width]

    def error(self, tensor: Tensor, count: int) -> np.ndarray:
        """The error of a tensor, as `values`."""
        return self.structures.view(tensor.error, self.structures.sum_dtype, (count, *tensor.shape))

    def gradient(self, node: Node) -> np.ndarray:
        """The gradient sums of a node's parameter."""
        wide = node.kind == "ADD" or node.layer["wide_gradient"]
        return self.structures.view(
            node.gradient, np.dtype(np.int64 if wide else np.int32), node.parameter[1].codes.shape
        )

    @property
    def arena_bytes(self) -> int:
        """Memory of activations, errors and gradients."""
        return self.structures.arena_bytes

    @property
    def parameter_bytes(self) -> int:
        """Memory of codes, stored and packed weights."""
        return self.structures.parameter_bytes


def infer(graph: Graph, images: np.ndarray, batch: int) -> np.ndarray:
    """What `wage_tf.integer.infer` returns, `batch` images at a time.

    Raises:
        UserError: See `Network`.
    """
    if len(images) == 0:
        return np.zeros((0, *graph.output.shape), np.int64)
    network = Network(graph, min(batch, len(images)))
    return np.concatenate([network.infer(images[i : i + batch]) for i in range(0, len(images), batch)])
