"""A program as the C runtime's structures, with the memory that they point to."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from wage_tf import machine, native
from wage_tf.errors import UserError
from wage_tf.integer.arithmetic import code_dtype, fraction_bits, largest_code
from wage_tf.integer.nodes import Bias, Kernel
from wage_tf.native import planning
from wage_tf.native.arena import ALIGNMENT, Buffer
from wage_tf.native.program import Node, Program, Tensor

_NONE = -1


class Structures:
    """What the functions of wage_net.h take, for one program.

    Args:
        program: The program. Its buffers get their offsets.
        batch: The most images of one call.
        training: Whether it is trained.
        threads: How many work.
        isa: Instruction set.
        keep: Gives every value of a step its own memory.

    Attributes:
        ffi: The extension's `ffi`.
        rows: The nodes in C, `wage_node`.
        net: `wage_net`.
        state: `wage_state`.
        parameters: Every parameter by name, with its codes and its stored weights as C has them, None where it has not.
            The parameter's own arrays are views of these, where C has them in the same type.
        arena_bytes: Memory of activations, errors and gradients.
        parameter_bytes: Memory of codes, stored and packed weights.

    Raises:
        UserError: If there is not memory enough for the arena.
    """

    def __init__(self, program: Program, batch: int, training: bool, threads: int, isa: str, keep: bool):
        extension = native.runtime()
        self.ffi, self._lib = extension.ffi, extension.lib
        self._wide, self._batch, self._training = program.wide, batch, training
        self._table: Any = None if program.wide or isa == "portable" else native.instruction_sets()[isa]
        self._kept: list[Any] = []
        self.parameters: dict[str, tuple[Kernel | Bias, tuple]] = {}
        self.parameter_bytes = 0
        self.rows = self.ffi.new("wage_node[]", len(program.nodes))
        workspace = Buffer(self._set_layers(program, threads))
        self.arena_bytes = planning.plan_memory(program, batch, workspace, training, sharing=not keep)
        self._arena = self._memory(self._affordable(self.arena_bytes))
        self._set_net(program, workspace, threads)

    def at(self, offset: int) -> Any:
        """A C pointer into the arena."""
        return self._pointer(self._arena[offset:])

    def view(self, buffer: Buffer, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        """The numbers of a buffer in the arena."""
        size = int(np.prod(shape)) * dtype.itemsize
        return self._arena[buffer.offset : buffer.offset + size].view(dtype).reshape(shape)

    @property
    def code_dtype(self) -> np.dtype:
        """Type of codes."""
        return np.dtype(np.int16 if self._wide else np.int8)

    @property
    def sum_dtype(self) -> np.dtype:
        """Type of sums."""
        return np.dtype(np.int64 if self._wide else np.int32)

    # Tables

    def _set_layers(self, program: Program, threads: int) -> int:
        """Sets the products' geometry and kernels; returns the bytes of the workspace that they need."""
        sizes = [0]
        for row, node in zip(self.rows, program.nodes, strict=True):
            row.layer.batch = self._batch if node.kind == "LINEAR" else 0
            for field, value in node.layer.items():
                setattr(row.layer, field, value)
            if node.kind == "LINEAR":
                row.kernels = self._kernels(row)
                sizes.append(row.kernels.workspace_size(self._layer(row), threads))
        return max(sizes)

    def _kernels(self, row: Any) -> Any:
        """The instruction set's table, if it takes the layer, else the portable one."""
        if self._table is not None:
            row.layer.e_zero = self._table.e_zero
            if self._table.takes(self._layer(row)):
                return self._table
            row.layer.e_zero = 0
        return self._portable

    def _set_net(self, program: Program, workspace: Buffer, threads: int) -> None:
        ffi = self.ffi
        places = {tensor: i for i, tensor in enumerate(program.tensors)}
        tensors = self._keep(ffi.new("wage_tensor[]", len(places)))
        for row, tensor in zip(tensors, program.tensors, strict=True):
            self._set_tensor(row, tensor)
        parameters = [node for node in program.nodes if node.parameter]
        rules = self._keep(ffi.new("wage_rule[]", max(1, len(parameters))))
        weights = self._keep(ffi.new("wage_weights[]", max(1, len(parameters))))
        for row, node in zip(self.rows, program.nodes, strict=True):
            self._set_node(row, node, places, workspace)
            row.weights = parameters.index(node) if node.parameter else _NONE
            if node.parameter:
                self._set_weights(rules[row.weights], weights[row.weights], row, node)
        slots = (len(places) + len(parameters)) * threads
        state = self.state = ffi.new("wage_state *")
        state.arena, state.weights = self._pointer(self._arena), weights
        state.largest = self._keep(ffi.new("int64_t[]", slots))
        state.fractions = self._keep(ffi.new("int32_t[]", slots))
        net = self.net = ffi.new("wage_net *")
        net.node_count, net.tensor_count, net.weights_count = len(program.nodes), len(places), len(parameters)
        net.nodes, net.tensors, net.rules = self.rows, tensors, rules
        net.kernels = self._portable if self._table is None else self._table
        net.wide, net.batch = program.wide, self._batch
        net.scores, net.classes = places[program.scores], program.scores.size
        net.fraction = program.scores.fraction

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
        row.bias_shift, row.error_limit, row.error_fraction = node.bias_shift, node.error_limit, node.error_fraction
        row.error_most = node.error_most
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
        row.gate = tensor.gate.offset if tensor.gate is not None and self._training else _NONE
        row.error = tensor.error.offset if tensor.error is not None else _NONE

    def _set_weights(self, rule: Any, weights: Any, row: Any, node: Node) -> None:
        name, parameter = node.parameter
        codes, stored = None, None
        rule.size = parameter.codes.size
        rule.trained = self._training and parameter.variable is not None
        if rule.trained:
            rule.variable = parameter.variable
            rule.grid = parameter.fraction - fraction_bits(parameter.gradient_width)
            rule.limit = parameter.limit
        if isinstance(parameter, Kernel):
            codes = self._array(parameter.codes, self.code_dtype)
            weights.codes = self._pointer(codes)
            packed = self._memory(row.kernels.packed_size(self._layer(row)))
            weights.packed = self._pointer(packed)
            self.parameter_bytes += packed.nbytes
            rule.code_shift = parameter.fraction - fraction_bits(parameter.width)
            rule.code_limit = largest_code(parameter.width) if parameter.width > 1 else 0
        if isinstance(parameter, Bias):
            stored = self._array(parameter.codes, code_dtype(parameter.limit))
        elif parameter.accumulators is not None and self._training:
            stored = self._array(parameter.accumulators, code_dtype(parameter.limit))
        if stored is not None:
            weights.stored = self._pointer(stored)
            rule.stored_bytes = stored.itemsize
        self.parameter_bytes += sum(array.nbytes for array in (codes, stored) if array is not None)
        node.parameter = (name, with_numbers(parameter, codes, stored))
        self.parameters[name] = (node.parameter[1], (codes, stored))

    def _layer(self, row: Any) -> Any:
        return self.ffi.addressof(row, "layer")

    @property
    def _portable(self) -> Any:
        """The table that takes every layer."""
        return self.ffi.addressof(self._lib.wage_portable_wide if self._wide else self._lib.wage_portable)

    # Memory

    def _affordable(self, size: int) -> int:
        """The size, where so much memory is free."""
        free = machine.free_memory()
        if size > free:
            raise UserError(
                f"native engine: a batch of {self._batch} needs {size // 10**6} MB of memory; "
                f"this machine has {free // 10**6} MB free"
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

    def _pointer(self, array: np.ndarray) -> Any:
        return self.ffi.cast("void *", array.ctypes.data)

    def _keep(self, kept: Any) -> Any:
        self._kept.append(kept)
        return kept


def with_numbers(parameter: Kernel | Bias, codes: np.ndarray | None, stored: np.ndarray | None) -> Kernel | Bias:
    """The parameter with these arrays, in its own shape, as far as they are of its own types, in place of its own."""
    changes = {"codes": stored} if isinstance(parameter, Bias) else {"codes": codes, "accumulators": stored}
    views: dict[str, Any] = {
        field: array.reshape(parameter.codes.shape)
        for field, array in changes.items()
        if array is not None and array.dtype == getattr(parameter, field).dtype
    }
    return dataclasses.replace(parameter, **views)
