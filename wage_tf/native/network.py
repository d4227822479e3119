"""A network in the C runtime's memory: inference and training steps on NumPy arrays."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from wage_tf import machine, native
from wage_tf.errors import UserError
from wage_tf.integer.arithmetic import LARGEST_LOG2_ETA, code_dtype, fraction_bits, largest_code
from wage_tf.integer.graph import Graph, float_operands
from wage_tf.integer.nodes import Bias, Kernel
from wage_tf.native import arguments, bounds, planning
from wage_tf.native.arena import ALIGNMENT, Buffer
from wage_tf.native.program import Node, Tensor

_NONE = -1
_LARGEST_BATCH = 2**20


class Network:
    """A graph made ready to run.

    Args:
        graph: The network.
        batch: The most images of one call.
        training: Whether it is trained; inference alone needs much less memory.
        threads: How many work; None takes the CPUs of this process. The results do not depend on it.
        isa: Instruction set; None takes WAGE_ISA or the fastest.
        keep: Gives every value of a step its own memory, so that it can be looked at (`activations`, `errors`,
            `gradients`).

    Attributes:
        program: What runs.
        arena_bytes: Memory of activations, errors and gradients.
        isa: The instruction set.
        ffi: The extension's `ffi`.
        rows: The nodes in C, `wage_node`.
        net: `wage_net`.
        state: `wage_state`.
        parameters: Every parameter by name, with its codes and its stored weights as C has them, None where it has not.

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
        self.ffi, self._lib = extension.ffi, extension.lib
        self.isa = native.instruction_set(isa)
        self.batch = arguments.count("batch", batch, _LARGEST_BATCH)
        self.threads = arguments.count("threads", threads or machine.cpus(), 256)
        self.training = training
        if training and (floats := float_operands(graph)):
            raise UserError(f"integer training: not all operands are integers: {'; '.join(floats)}")
        self._graph = graph
        self.program = bounds.proven_program(graph, self.batch, training)
        if training:
            bounds.require_trainable(self.program)
        self._kept: list[Any] = []
        self._build(keep)
        self._pool = self.ffi.gc(self._lib.wage_pool_open(self.threads), self._lib.wage_pool_close)
        if self._pool == self.ffi.NULL:
            raise UserError(f"native engine: this machine gives no {self.threads} threads")
        self._lib.wage_pool_pack(self._pool, self.net, self.state, training)

    def infer(self, images: np.ndarray) -> np.ndarray:
        """Scores' codes, int64 [images, ...], of at most `batch` images, uint8 [images, *graph.input_shape].

        Raises:
            UserError: If the images are not that.
        """
        images = arguments.images(images, self._graph.input_shape, self.batch)
        pointer = self.ffi.from_buffer("uint8_t[]", images)
        self._lib.wage_pool_infer(self._pool, self.net, self.state, pointer, len(images))
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
        labels = arguments.labels(labels, len(images), self.program.scores.size)
        if not -62 <= log2_eta <= LARGEST_LOG2_ETA:
            raise UserError(f"learning rate: 2^-62 to 2^{LARGEST_LOG2_ETA}; received 2^{log2_eta}")
        state = self.state
        state.log2_eta, state.random_width = log2_eta, random_width
        state.seed, state.step = seed % 2**32, step % 2**32
        status = self._lib.wage_pool_train_step(
            self._pool,
            self.net,
            state,
            self.ffi.from_buffer("uint8_t[]", images),
            self.ffi.from_buffer("int32_t[]", labels),
            len(images),
        )
        if status != self._lib.WAGE_OK:
            raise UserError("native engine: errors that meet differ too much in size: their sum passes 62 bits")
        return self.scores(len(images))

    def scores(self, count: int) -> np.ndarray:
        """The scores that the last call left, int64 [count, ...]."""
        return self.values(self.program.scores, count).astype(np.int64).reshape(count, *self._graph.output.shape)

    def graph(self) -> Graph:
        """The graph with the weights as they are now."""
        found = {name: self._updated(parameter, *arrays) for name, (parameter, arrays) in self.parameters.items()}
        return self._graph.with_parameters(found)

    @property
    def stored(self) -> dict[str, np.ndarray]:
        """The stored weights as they are now by their name in `Graph.parameters`, flat views."""
        return {name: stored for name, (_, (_, stored)) in self.parameters.items() if stored is not None}

    def load(self, graph: Graph) -> None:
        """Takes over the weights of a graph that differs in nothing else."""
        for name, parameter in graph.parameters.items():
            codes, stored = self.parameters[name][1]
            if codes is not None:
                codes[...] = parameter.codes.reshape(-1)
            if stored is not None:
                stored[...] = (parameter.codes if codes is None else parameter.accumulators).reshape(-1)
        self._lib.wage_pool_pack(self._pool, self.net, self.state, self.training)

    def values(self, tensor: Tensor, count: int) -> np.ndarray:
        """A tensor's codes or sums without its border, [count, height, width, channels], a view."""
        dtype = self._sum_dtype if tensor.sums else self._code_dtype
        height, width, channels = tensor.shape
        if tensor.sums:
            return self._view(tensor.data, dtype, (count, height, width, channels))
        whole = self._view(tensor.data, dtype, (count, tensor.rows, tensor.columns, channels))
        top, left = tensor.border.top, tensor.border.left
        return whole[:, top : top + height, left : left + width]

    def error(self, tensor: Tensor, count: int) -> np.ndarray:
        """The error of a tensor, as `values`."""
        return self._view(tensor.error, self._sum_dtype, (count, *tensor.shape))

    def gradient(self, node: Node) -> np.ndarray:
        """The gradient sums of a node's parameter."""
        wide = node.kind == "ADD" or node.layer["wide_gradient"]
        return self._view(node.gradient, np.dtype(np.int64 if wide else np.int32), node.parameter[1].codes.shape)

    @property
    def parameter_bytes(self) -> int:
        """Memory of codes, stored and packed weights."""
        arrays = [array for _, pair in self.parameters.values() for array in pair if array is not None]
        return sum(array.nbytes for array in arrays) + self._packed_bytes

    # C structures

    def _build(self, keep: bool) -> None:
        ffi, program = self.ffi, self.program
        self._code_dtype = np.dtype(np.int16 if program.wide else np.int8)
        self._sum_dtype = np.dtype(np.int64 if program.wide else np.int32)
        nodes = self.rows = ffi.new("wage_node[]", len(program.nodes))
        tables = native.instruction_sets()
        workspace = Buffer()
        for row, node in zip(nodes, program.nodes, strict=True):
            if node.kind == "LINEAR":
                self._set_layer(row, node, tables)
                workspace.size = max(
                    workspace.size, row.kernels.workspace_size(_address(ffi, row, "layer"), self.threads)
                )
        self.arena_bytes = planning.plan_memory(program, self.batch, workspace, self.training, sharing=not keep)
        self._arena = self._memory(self._affordable(self.arena_bytes))
        places = {tensor: i for i, tensor in enumerate(program.tensors)}
        tensors = self._keep(ffi.new("wage_tensor[]", len(places)))
        for row, tensor in zip(tensors, program.tensors, strict=True):
            self._set_tensor(row, tensor)
        parameters = [node for node in program.nodes if node.parameter]
        rules = self._keep(ffi.new("wage_rule[]", max(1, len(parameters))))
        weights = self._keep(ffi.new("wage_weights[]", max(1, len(parameters))))
        self.parameters: dict[str, tuple[Kernel | Bias, tuple]] = {}
        self._packed_bytes = 0
        for row, node in zip(nodes, program.nodes, strict=True):
            self._set_node(row, node, places, workspace)
            row.weights = parameters.index(node) if node.parameter else _NONE
            if node.parameter:
                self._set_weights(rules[row.weights], weights[row.weights], row, node)
        slots = (len(places) + len(parameters)) * self.threads
        self.state = ffi.new("wage_state *")
        self.state.arena = self._pointer(self._arena)
        self.state.weights = weights
        self.state.largest = self._keep(ffi.new("int64_t[]", slots))
        self.state.fractions = self._keep(ffi.new("int32_t[]", slots))
        self.net = ffi.new("wage_net *")
        self.net.node_count, self.net.tensor_count = len(program.nodes), len(places)
        self.net.weights_count = len(parameters)
        self.net.nodes, self.net.tensors, self.net.rules = nodes, tensors, rules
        self.net.kernels = self._portable if program.wide or self.isa == "portable" else tables[self.isa]
        self.net.wide, self.net.batch = program.wide, self.batch
        self.net.scores, self.net.classes = places[program.scores], program.scores.size
        self.net.fraction = program.scores.fraction

    @property
    def _portable(self) -> Any:
        """The table that takes every layer."""
        return self.ffi.addressof(self._lib.wage_portable_wide if self.program.wide else self._lib.wage_portable)

    def _set_layer(self, row: Any, node: Node, tables: dict[str, Any]) -> None:
        row.layer.batch = self.batch
        for field, value in node.layer.items():
            setattr(row.layer, field, value)
        row.kernels = self._portable
        if not self.program.wide and self.isa != "portable":
            table = tables[self.isa]
            row.layer.e_zero = table.e_zero
            if table.takes(_address(self.ffi, row, "layer")):
                row.kernels = table
            else:
                row.layer.e_zero = 0

    def _set_node(self, row: Any, node: Node, places: dict[Tensor, int], workspace: Buffer) -> None:
        row.kind = getattr(self._lib, f"WAGE_{node.kind}")
        row.input = places[node.inputs[0]] if node.inputs else _NONE
        row.output = places[node.outputs[0]]
        ways = node.outputs if node.kind == "FORK" else node.inputs
        row.way_count = len(ways)
        for i, tensor in enumerate(ways):
            row.ways[i] = places[tensor]
        for i, shift in enumerate(node.shifts):
            row.shifts[i] = shift
        if node.kind != "LINEAR":
            for field, value in node.layer.items():
                setattr(row.layer, field, value)
        row.bias_shift, row.error_limit, row.error_fraction = node.bias_shift, node.error_limit, node.error_fraction
        if node.table is not None:
            row.table = self._keep(self.ffi.new("int16_t[]", node.table.tolist()))
        if node.errors is not None:
            self._set_tensor(row.errors, node.errors)
        row.gradient = node.gradient.offset if node.gradient else _NONE
        row.workspace = workspace.offset if workspace.size else _NONE

    def _set_tensor(self, row: Any, tensor: Tensor) -> None:
        row.height, row.width, row.channels = tensor.shape
        row.sums, row.top, row.left = tensor.sums, tensor.border.top, tensor.border.left
        row.rows, row.columns = (tensor.shape[:2]) if tensor.sums else (tensor.rows, tensor.columns)
        row.data = tensor.data.offset
        row.gate = tensor.gate.offset if tensor.gate is not None and self.training else _NONE
        row.error = tensor.error.offset if tensor.error is not None else _NONE

    def _set_weights(self, rule: Any, weights: Any, row: Any, node: Node) -> None:
        name, parameter = node.parameter
        codes, stored = None, None
        rule.size = parameter.codes.size
        rule.trained = self.training and parameter.variable is not None
        if rule.trained:
            rule.variable = parameter.variable
            rule.grid = parameter.fraction - fraction_bits(parameter.gradient_width)
            rule.limit = parameter.limit
        if isinstance(parameter, Kernel):
            codes = self._array(parameter.codes, self._code_dtype)
            weights.codes = self._pointer(codes)
            packed = self._memory(row.kernels.packed_size(_address(self.ffi, row, "layer")))
            weights.packed = self._pointer(packed)
            self._packed_bytes += packed.nbytes
            rule.code_shift = parameter.fraction - fraction_bits(parameter.width)
            rule.code_limit = largest_code(parameter.width) if parameter.width > 1 else 0
        if isinstance(parameter, Bias):
            stored = self._array(parameter.codes, code_dtype(parameter.limit))
        elif parameter.accumulators is not None and self.training:
            stored = self._array(parameter.accumulators, code_dtype(parameter.limit))
        if stored is not None:
            weights.stored = self._pointer(stored)
            rule.stored_bytes = stored.itemsize
        self.parameters[name] = (parameter, (codes, stored))

    def _updated(self, parameter: Kernel | Bias, codes: np.ndarray | None, stored: np.ndarray | None) -> Kernel | Bias:
        """The parameter with the numbers of these arrays."""
        shape = parameter.codes.shape
        if isinstance(parameter, Bias):
            return dataclasses.replace(parameter, codes=stored.reshape(shape).copy())
        changes: dict[str, Any] = {} if stored is None else {"accumulators": stored.reshape(shape).copy()}
        return dataclasses.replace(parameter, codes=codes.reshape(shape).astype(parameter.codes.dtype), **changes)

    # Memory

    def arena_pointer(self, offset: int) -> Any:
        """A C pointer into the arena."""
        return self._pointer(self._arena[offset:])

    def _affordable(self, size: int) -> int:
        """The size, where the machine has that much memory at all."""
        if size > machine.memory():
            raise UserError(
                f"native engine: a batch of {self.batch} needs {size // 10**6} MB of memory; "
                f"this machine has {machine.memory() // 10**6}"
            )
        return size

    def _memory(self, size: int) -> np.ndarray:
        """Bytes of zeros at a multiple of 64, with as many before and behind that kernels may read."""
        block = self._keep(np.zeros(size + 3 * ALIGNMENT, np.uint8))
        begin = ALIGNMENT + -block.ctypes.data % ALIGNMENT
        return block[begin : begin + size]

    def _array(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        array = self._memory(values.size * dtype.itemsize).view(dtype)
        array[...] = values.reshape(-1)
        return array

    def _view(self, buffer: Buffer, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        size = int(np.prod(shape)) * dtype.itemsize
        return self._arena[buffer.offset : buffer.offset + size].view(dtype).reshape(shape)

    def _pointer(self, array: np.ndarray) -> Any:
        return self.ffi.cast("void *", array.ctypes.data)

    def _keep(self, kept: Any) -> Any:
        self._kept.append(kept)
        return kept


def infer(graph: Graph, images: np.ndarray, batch: int) -> np.ndarray:
    """What `wage_tf.integer.infer` returns, `batch` images at a time.

    Raises:
        UserError: See `Network`.
    """
    if len(images) == 0:
        return np.zeros((0, *graph.output.shape), np.int64)
    network = Network(graph, min(batch, len(images)))
    return np.concatenate([network.infer(images[i : i + batch]) for i in range(0, len(images), batch)])


def _address(ffi: Any, row: Any, field: str) -> Any:
    return ffi.addressof(row, field)
