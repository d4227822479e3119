"""Turns a Keras model into an integer graph; the only file here, with verify.py, that knows Keras."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable

import keras
import numpy as np

from wage_tf.constraints import ClipToGrid
from wage_tf.errors import UserError
from wage_tf.integer.arithmetic import code_dtype, fraction_bits, largest_code, quantize
from wage_tf.integer.graph import Activation, Conv2D, Dense, Error, Flatten, Graph, Kernel, MaxPool2D, Rescale
from wage_tf.layers import QActivation, QConv2D, QDense, QError, QRescaling


def freeze(model: keras.Model) -> Graph:
    """Reads the integers out of a trained or untrained model.

    Args:
        model: A chain of QRescaling, QConv2D, QDense, MaxPooling2D, Flatten, QActivation (relu or none) and QError
            from raw uint8 images, with integer widths for W and A.

    Returns:
        The graph, accumulators included; a frozen layer (trainable=False) stays as it is in training.

    Raises:
        UserError: If a layer has no node in the integer graph, an operand of the forward pass is float32, or a
            stored weight is not on its grid; the message names the layer.
    """
    variables = {id(variable): index for index, variable in enumerate(model.trainable_variables)}
    nodes = []
    for layer, _ in chain(model):
        nodes.append(_READERS[type(layer)](layer, variables))
    if not nodes or not isinstance(nodes[0], Rescale):
        raise UserError(f"model {model.name}: the integer graph begins with a QRescaling, which takes raw uint8 pixels")
    return Graph(tuple(model.input_shape[1:]), tuple(nodes))


def codes_of(values: np.ndarray, fraction: int, what: str) -> np.ndarray:
    """The integers c, int64, with values = c·2^(−fraction) exactly.

    Raises:
        UserError: If a value is not such a multiple; `what` begins the message.
    """
    scaled = np.asarray(values, np.float64) * 2.0**fraction
    if not (np.isfinite(scaled).all() and (scaled == np.rint(scaled)).all()):
        raise UserError(f"{what}: not multiples of 2^-{fraction}")
    return scaled.astype(np.int64)


def chain(model: keras.Model) -> list[tuple[keras.Layer, keras.KerasTensor]]:
    """The layers of a model that is a chain, in order, each with its output in the model.

    Raises:
        UserError: If the model is not built, not a chain, or has a layer without an integer node.
    """
    if not model.built or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UserError(f"model {model.name}: the integer graph needs a built model of one input and one output")
    calls = _calls(model)
    tensor, found = model.inputs[0], []
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if type(layer) not in _READERS:
            raise UserError(_unsupported(layer))
        if len(calls[layer]) != 1 or calls[layer][0].input_tensors[0] is not tensor:
            raise UserError(f"layer {layer.name}: the integer graph is a chain, each layer used once, after the last")
        (tensor,) = calls[layer][0].output_tensors
        found.append((layer, tensor))
    return found


def _calls(model: keras.Model) -> dict[keras.Layer, list]:
    """The nodes of a model's own graph by layer; `layer.output` also counts those of graphs it was part of before."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    calls = collections.defaultdict(list)
    for node in itertools.chain.from_iterable(graph._nodes_by_depth.values()):
        calls[node.operation].append(node)
    return calls


def _unsupported(layer: keras.Layer) -> str:
    kinds = ", ".join(kind.__name__ for kind in _READERS)
    return f"layer {layer.name}: {type(layer).__name__} has no integer node; the kinds supported are {kinds}"


def _read_rescaling(layer: QRescaling, variables: dict[int, int]) -> Rescale:
    del variables
    width = _integer_width(layer, layer.bits.a, "activations", "A")
    table = layer(np.arange(256, dtype=np.uint8).reshape(256, 1)).numpy()[:, 0]
    codes = codes_of(table, fraction_bits(width), f"layer {layer.name}")
    return Rescale(layer.name, codes.astype(code_dtype(largest_code(width))), width)


def _read_conv(layer: QConv2D, variables: dict[int, int]) -> Conv2D:
    _require_plain(layer, dilation_rate=(1, 1), groups=1, data_format="channels_last")
    return Conv2D(layer.name, _read_kernel(layer, variables), _pair(layer.strides), layer.padding)


def _read_dense(layer: QDense, variables: dict[int, int]) -> Dense:
    _require_plain(layer)
    return Dense(layer.name, _read_kernel(layer, variables))


def _read_pool(layer: keras.layers.MaxPooling2D, variables: dict[int, int]) -> MaxPool2D:
    del variables
    if layer.data_format != "channels_last":
        raise UserError(f"layer {layer.name}: the integer graph takes data_format='channels_last'")
    return MaxPool2D(layer.name, _pair(layer.pool_size), _pair(layer.strides), layer.padding)


def _read_flatten(layer: keras.layers.Flatten, variables: dict[int, int]) -> Flatten:
    del variables
    return Flatten(layer.name)


def _read_activation(layer: QActivation, variables: dict[int, int]) -> Activation:
    del variables
    if layer.activation not in (keras.activations.relu, keras.activations.linear):
        name = getattr(layer.activation, "__name__", layer.activation)
        raise UserError(f"layer {layer.name}: activation {name!r} has no integer node; relu and None have")
    relu = layer.activation is keras.activations.relu
    return Activation(layer.name, relu, _integer_width(layer, layer.bits.a, "activations", "A"), layer.bits.e)


def _read_error(layer: QError, variables: dict[int, int]) -> Error:
    del variables
    return Error(layer.name, layer.bits.e)


def _read_kernel(layer: QConv2D | QDense, variables: dict[int, int]) -> Kernel:
    width = _integer_width(layer, layer.bits.w, "weights", "W")
    if type(layer.kernel_constraint) is not ClipToGrid:
        raise UserError(f"layer {layer.name}: the integer graph needs kernel_constraint=ClipToGrid")
    clip = layer.kernel_constraint.bits
    fraction = fraction_bits(max(width, layer.bits.g or width, clip))
    stored = codes_of(layer.kernel.numpy(), fraction, f"layer {layer.name}: the stored weights are not integers")
    limit = largest_code(clip) << (fraction - fraction_bits(clip))
    return Kernel(
        codes=quantize(stored, fraction, width),
        width=width,
        alpha=int(np.log2(layer.alpha)),
        gradient_width=layer.bits.g,
        accumulators=stored.astype(code_dtype(limit)),
        fraction=fraction,
        limit=limit,
        variable=variables.get(id(layer.kernel)),
    )


def _require_plain(layer: keras.Layer, **settings: object) -> None:
    if layer.use_bias or layer.activation is not keras.activations.linear:
        raise UserError(f"layer {layer.name}: the integer graph takes kernels without bias and without activation")
    for name, value in settings.items():
        if getattr(layer, name) != value:
            raise UserError(
                f"layer {layer.name}: the integer graph takes {name}={value!r}; received {getattr(layer, name)!r}"
            )


def _integer_width(layer: keras.Layer, width: int | None, operand: str, letter: str) -> int:
    if width is None:
        raise UserError(f"layer {layer.name}: its {operand} are float32 (k_{letter} = f), not integers")
    return width


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    return int(sizes[0]), int(sizes[1])


_READERS: dict[type, Callable] = {
    QRescaling: _read_rescaling,
    QConv2D: _read_conv,
    QDense: _read_dense,
    keras.layers.MaxPooling2D: _read_pool,
    keras.layers.Flatten: _read_flatten,
    QActivation: _read_activation,
    QError: _read_error,
}
