"""TensorFlow's compiled programs as JAX's: a `tf.function` lowered to StableHLO and wrapped as a `jax.export` artifact.

Variables that the function reads become arguments, those that it assigns become results, so that the program has no
state of its own. `jax.export` guarantees that later versions of JAX can run what this one wrote.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping

import jax
import numpy as np
import tensorflow as tf
from jax import export
from jax.extend.core import Primitive
from jax.interpreters import mlir
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import func, stablehlo

_PLATFORMS = ("cpu", "cuda", "rocm")
_ALIAS = re.compile(r"parameter_number = (\d+) : i64\}, output_index = array<i64: (\d+)>")
_MAIN = "main"
_LONG = 64


@dataclasses.dataclass(frozen=True)
class Lowered:
    """A program and what its arguments and results are.

    Attributes:
        blob: Serialized `jax.export.Exported`.
        arguments: The function's own arguments, then the variables it uses.
        results: The keys of the function's dictionary, sorted, then the variables it assigns.
    """

    blob: bytes
    arguments: list[str]
    results: list[str]


def lower(
    function: Callable[..., dict[str, tf.Tensor]],
    inputs: Mapping[str, tf.TensorSpec],
    variables: Mapping[str, tf.Variable],
) -> Lowered:
    """Lowers a function of tensors and variables.

    Args:
        function: Takes the inputs by position; returns named tensors.
        inputs: Name, shape and type of each argument.
        variables: Every variable that it may use, by name.
    """
    compiled = tf.function(function, jit_compile=True, autograph=False)
    specs = list(inputs.values())
    traced = compiled.get_concrete_function(*specs)
    names = {id(variable.handle): name for name, variable in variables.items()}
    captured = [names[id(handle)] for handle in traced.captured_inputs]
    arguments = [*inputs, *captured]
    text = compiled.experimental_get_compiler_ir(*specs)(stage="stablehlo")
    outputs = traced.structured_outputs
    assigned = {int(result): arguments[int(argument)] for argument, result in _ALIAS.findall(text)}
    changed = [assigned[i] for i in range(len(outputs), len(outputs) + len(assigned))]
    takes = [*specs, *(variables[name] for name in captured)]
    gives = [*(outputs[name] for name in sorted(outputs)), *(variables[name] for name in changed)]
    blob = _exported(_portable(text), [_shaped(value) for value in takes], [_shaped(value) for value in gives])
    return Lowered(blob, arguments, [*sorted(outputs), *changed])


def _shaped(value: tf.TensorSpec | tf.Tensor | tf.Variable) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(tuple(value.shape), value.dtype.as_numpy_dtype)


def _portable(text: str) -> str:
    """Takes out of a StableHLO module what only TensorFlow reads: attributes, copies, source locations.

    TensorFlow also folds `tf.range` into constants, as large as the weights where they number random bits; these
    become `stablehlo.iota` again.
    """
    with mlir.make_ir_context(), ir.Location.unknown():
        module = ir.Module.parse(text)
        for name in list(module.operation.attributes):
            del module.operation.attributes[name]
        for copy in _operations(module, "mhlo.copy"):
            copy.results[0].replace_all_uses_with(copy.operands[0])
            copy.erase()
        for constant in _operations(module, "stablehlo.constant"):
            if _counts_up(constant):
                kind = ir.RankedTensorType(constant.results[0].type)
                line = ir.RankedTensorType.get([math.prod(kind.shape)], kind.element_type)
                here = ir.InsertionPoint(constant)
                iota = stablehlo.reshape(kind, stablehlo.iota(line, 0, ip=here), ip=here)
                constant.results[0].replace_all_uses_with(iota)
                constant.erase()
        return module.operation.get_asm(enable_debug_info=False)


def _operations(module: ir.Module, name: str) -> list[ir.Operation]:
    found = []

    def collect(operation: ir.Operation) -> ir.WalkResult:
        if operation.name == name:
            found.append(operation)
        return ir.WalkResult.ADVANCE

    module.operation.walk(collect)
    return found


def _counts_up(constant: ir.Operation) -> bool:
    """Whether a constant's elements are the integers 0, 1, 2, ... and enough to be worth replacing."""
    kind = ir.RankedTensorType(constant.results[0].type)
    size = math.prod(kind.shape)
    if size < _LONG or str(kind.element_type) not in ("i32", "ui32"):
        return False
    value = constant.attributes["value"]
    return not value.is_splat and np.array_equal(np.array(value).ravel(), np.arange(size))


def _exported(text: str, takes: list[jax.ShapeDtypeStruct], gives: list[jax.ShapeDtypeStruct]) -> bytes:
    """Wraps a StableHLO module as a JAX primitive and exports a function that calls it."""
    program = Primitive("wage_program")
    program.multiple_results = True
    program.def_abstract_eval(lambda *_: [jax.core.ShapedArray(value.shape, value.dtype) for value in gives])

    def lowering(context: mlir.LoweringRuleContext, *arguments: ir.Value) -> ir.OpResultList:
        module = ir.Module.parse(text)
        types = list(_main(module).type.results)
        name = mlir.merge_mlir_modules(context.module_context.module, program.name, module)
        return func.CallOp(types, ir.FlatSymbolRefAttr.get(name), arguments).results

    mlir.register_lowering(program, lowering)
    with jax.enable_x64(True):
        exported = export.export(jax.jit(lambda *arguments: program.bind(*arguments)), platforms=_PLATFORMS)(*takes)
    return bytes(exported.serialize())


def _main(module: ir.Module) -> func.FuncOp:
    return next(f for f in module.body.operations if f.attributes["sym_name"].value == _MAIN)
