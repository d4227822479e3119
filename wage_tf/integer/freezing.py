"""Turns a Keras model into an integer graph; the only file here, with verify.py, that knows Keras."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import keras
import numpy as np

from wage_tf.constraints import ClipToGrid
from wage_tf.errors import UserError
from wage_tf.integer.arithmetic import code_dtype, fraction_bits, largest_code
from wage_tf.integer.graph import IMAGES, Graph
from wage_tf.integer.nodes import Activation, Conv2D, Dense, Error, Flatten, Kernel, MaxPool2D, Node, Rescale
from wage_tf.layers import QActivation, QConv2D, QDense, QError, QRescaling


@dataclasses.dataclass(frozen=True)
class Call:
    """A layer's place in a model.

    Attributes:
        layer: The layer.
        name: Its name, with the names of the nested models that hold it in front.
        inputs: Names of the nodes whose outputs it takes.
        nodes: The nodes that stand for it, the last of which gives its output.
    """

    layer: keras.Layer
    name: str
    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]

    @property
    def output(self) -> str:
        """Name of the node of its output."""
        return self.nodes[-1].name


def freeze(model: keras.Model) -> Graph:
    """Reads the integers out of a trained or untrained model.

    Args:
        model: A Functional or Sequential model of layers that have integer nodes, nested models included, from raw
            uint8 images, with integer widths for W and A.

    Returns:
        The graph. A kernel has accumulators where its stored weights lie on their grid, which training needs; a frozen
        layer (trainable=False) stays as it is in training.

    Raises:
        UserError: If a layer has no node in the integer graph or an operand of the forward pass is float32; the
            message names the layer.
    """
    return read(model)[0]


def read(model: keras.Model) -> tuple[Graph, tuple[Call, ...]]:
    """What `freeze` returns, and the layers that its nodes stand for."""
    if not model.built or not hasattr(model, "inputs") or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UserError(f"model {model.name}: the integer graph needs a built model of one input and one output")
    variables = {id(variable): index for index, variable in enumerate(model.trainable_variables)}
    calls: list[Call] = []
    _walk(model, "", [IMAGES], variables, calls)
    nodes = tuple(node for call in calls for node in call.nodes)
    if not nodes or not isinstance(nodes[0], Rescale):
        raise UserError(f"model {model.name}: the integer graph begins with a QRescaling, which takes raw uint8 pixels")
    return Graph(tuple(model.inputs[0].shape[1:]), nodes), tuple(calls)


def codes_of(values: np.ndarray, fraction: int, what: str) -> np.ndarray:
    """The integers c, int64, with values = c·2^(−fraction) exactly.

    Raises:
        UserError: If a value is not such a multiple; `what` begins the message.
    """
    scaled = np.asarray(values, np.float64) * 2.0**fraction
    if not (np.isfinite(scaled).all() and (scaled == np.rint(scaled)).all()):
        raise UserError(f"{what}: not multiples of 2^-{fraction}")
    return scaled.astype(np.int64)


def _walk(
    model: keras.Model, prefix: str, inputs: Sequence[str], variables: dict[int, int], calls: list[Call]
) -> list[str]:
    """Appends the layers of a model to `calls`; takes and returns names of nodes for its inputs and outputs."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    names = dict(zip(map(id, graph.inputs), inputs, strict=True))
    nodes = sorted(graph._nodes_by_depth.items(), reverse=True)
    for node in itertools.chain.from_iterable(nodes_of_depth for _, nodes_of_depth in nodes):
        layer = node.operation
        if isinstance(layer, keras.layers.InputLayer):
            continue
        entering = [names[id(tensor)] for tensor in node.input_tensors]
        if isinstance(layer, keras.Model):
            outputs = _walk(layer, f"{prefix}{layer.name}/", entering, variables, calls)
        else:
            calls.append(_call(layer, prefix + layer.name, tuple(entering), variables, calls))
            outputs = [calls[-1].output]
        names.update(zip(map(id, node.output_tensors), outputs, strict=True))
    return [names[id(tensor)] for tensor in graph.outputs]


def _call(layer: keras.Layer, name: str, inputs: tuple[str, ...], variables: dict[int, int], calls: list[Call]) -> Call:
    reader = _READERS.get(type(layer))
    if reader is None:
        kinds = ", ".join(kind.__name__ for kind in _READERS)
        raise UserError(f"layer {name}: {type(layer).__name__} has no integer node; the kinds supported are {kinds}")
    if any(call.layer is layer for call in calls):
        raise UserError(f"layer {name}: used in two places; an integer graph takes each layer once")
    return Call(layer, name, inputs, tuple(reader(layer, name, inputs, variables)))


def _read_rescaling(layer: QRescaling, name: str, inputs: tuple[str, ...], variables: dict[int, int]) -> list[Node]:
    del variables
    width = _integer_width(layer, name, layer.bits.a, "activations", "A")
    table = layer(np.arange(256, dtype=np.uint8).reshape(256, 1)).numpy()[:, 0]
    codes = codes_of(table, fraction_bits(width), f"layer {name}")
    return [Rescale(name, inputs, codes.astype(code_dtype(largest_code(width))), width)]


def _read_conv(layer: QConv2D, name: str, inputs: tuple[str, ...], variables: dict[int, int]) -> list[Node]:
    _require_channels_last(layer, name)
    _require_plain(layer, name)
    kernel = _read_kernel(layer, name, variables)
    dilation = _pair(layer.dilation_rate)
    return [Conv2D(name, inputs, kernel, None, _pair(layer.strides), layer.padding, dilation, int(layer.groups))]


def _read_dense(layer: QDense, name: str, inputs: tuple[str, ...], variables: dict[int, int]) -> list[Node]:
    _require_plain(layer, name)
    return [Dense(name, inputs, _read_kernel(layer, name, variables), None)]


def _read_pool(
    layer: keras.layers.MaxPooling2D, name: str, inputs: tuple[str, ...], variables: dict[int, int]
) -> list[Node]:
    del variables
    _require_channels_last(layer, name)
    return [MaxPool2D(name, inputs, _pair(layer.pool_size), _pair(layer.strides), layer.padding)]


def _read_flatten(
    layer: keras.layers.Flatten, name: str, inputs: tuple[str, ...], variables: dict[int, int]
) -> list[Node]:
    del layer, variables
    return [Flatten(name, inputs)]


def _read_activation(layer: QActivation, name: str, inputs: tuple[str, ...], variables: dict[int, int]) -> list[Node]:
    del variables
    if layer.activation not in (keras.activations.relu, keras.activations.linear):
        activation = getattr(layer.activation, "__name__", layer.activation)
        raise UserError(f"layer {name}: activation {activation!r} has no integer node; relu and None have")
    relu = layer.activation is keras.activations.relu
    width = _integer_width(layer, name, layer.bits.a, "activations", "A")
    return [Activation(name, inputs, relu, width, layer.bits.e)]


def _read_error(layer: QError, name: str, inputs: tuple[str, ...], variables: dict[int, int]) -> list[Node]:
    del variables
    return [Error(name, inputs, layer.bits.e)]


def _read_kernel(layer: QConv2D | QDense, name: str, variables: dict[int, int]) -> Kernel:
    width = _integer_width(layer, name, layer.bits.w, "weights", "W")
    alpha = int(np.log2(layer.alpha))
    codes = codes_of(layer.quantized_kernel, fraction_bits(width) + alpha, f"layer {name}: the quantized weights")
    clip = layer.kernel_constraint.bits if type(layer.kernel_constraint) is ClipToGrid else width
    fraction = fraction_bits(max(width, layer.bits.g or width, clip))
    limit = largest_code(clip) << (fraction - fraction_bits(clip))
    return Kernel(
        codes=codes.astype(code_dtype(largest_code(width))),
        width=width,
        alpha=alpha,
        gradient_width=layer.bits.g,
        accumulators=_accumulators(layer, fraction, limit),
        fraction=fraction,
        limit=limit,
        variable=variables.get(id(layer.kernel)),
    )


def _accumulators(layer: QConv2D | QDense, fraction: int, limit: int) -> np.ndarray | None:
    """The stored weights as integers; None where no integer training could have left them so."""
    if type(layer.kernel_constraint) is not ClipToGrid:
        return None
    try:
        stored = codes_of(layer.kernel.numpy(), fraction, "the stored weights")
    except UserError:
        return None
    return stored.astype(code_dtype(limit)) if np.abs(stored).max() <= limit else None


def _require_plain(layer: keras.Layer, name: str) -> None:
    if layer.use_bias or layer.activation is not keras.activations.linear:
        raise UserError(f"layer {name}: the integer graph takes kernels without bias and without activation")


def _require_channels_last(layer: keras.Layer, name: str) -> None:
    if layer.data_format != "channels_last":
        raise UserError(f"layer {name}: the integer graph takes data_format='channels_last'")


def _integer_width(layer: keras.Layer, name: str, width: int | None, operand: str, letter: str) -> int:
    del layer
    if width is None:
        raise UserError(f"layer {name}: its {operand} are float32 (k_{letter} = f), not integers")
    return width


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    return int(sizes[0]), int(sizes[1])


_READERS: dict[type, Callable[..., list[Node]]] = {
    QRescaling: _read_rescaling,
    QConv2D: _read_conv,
    QDense: _read_dense,
    keras.layers.MaxPooling2D: _read_pool,
    keras.layers.Flatten: _read_flatten,
    QActivation: _read_activation,
    QError: _read_error,
}
