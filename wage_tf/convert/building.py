"""Builds the WAGE network of wage_tf's layers from steps."""

from __future__ import annotations

import collections
import fnmatch
import itertools
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from wage_tf.bits import BitWidths
from wage_tf.convert import steps
from wage_tf.convert.folding import in_order
from wage_tf.convert.scaling import StoredWeights
from wage_tf.convert.steps import Activation, Pixels, Product, Step, cannot
from wage_tf.errors import UserError
from wage_tf.layers import QActivation, QConv2D, QDense, QError, QRescaling

Bits = BitWidths | str | Mapping[str, BitWidths | str]

_LAYERS: dict[type[Product], type[keras.Layer]] = {steps.Conv2D: QConv2D, steps.Dense: QDense}
FLOAT = BitWidths(None, None, None, None)
_BATCH = 16
_VALUES_PER_BATCH = 2**13


def widths_of(output: Step, bits: Bits) -> dict[Step, BitWidths]:
    """The pattern of every step: of its own layer for a kernel, of the kernel before it for everything else.

    Args:
        output: The network.
        bits: One pattern, or a mapping from layers' names to patterns. A name is looked up as it is, then among the
            keys with wildcards ("block1_*") in their order, "*" last. "rescale" is the input's.

    Raises:
        UserError: If a layer has no pattern, or a key matches no layer.
    """
    widths: dict[Step, BitWidths] = {}
    used: set[str] = set()
    for step in in_order(output):
        if not isinstance(step, (Pixels, Product)):
            widths[step] = widths[step.inputs[0]]
        elif isinstance(bits, Mapping):
            keys = _matching(bits, [step.name, step.source] if isinstance(step, Product) else [step.name])
            used.update(keys)
            widths[step] = BitWidths.parse(bits[keys[0]])
        else:
            widths[step] = BitWidths.parse(bits)
    unused = [key for key in bits if key not in used and key != "*"] if isinstance(bits, Mapping) else []
    if unused:
        known = ", ".join(step.name for step in widths if isinstance(step, (Pixels, Product)))
        raise UserError(f"bits: {unused[0]!r} is the pattern of no layer; the model has {known}")
    return widths


def _matching(bits: Mapping[str, BitWidths | str], names: Sequence[str]) -> list[str]:
    """The keys that match one of a layer's names, in order of precedence."""
    exact = [name for name in names if name in bits]
    wild = [key for key in bits if key not in names and any(fnmatch.fnmatchcase(name, key) for name in names)]
    if not exact + wild:
        known = ", ".join(bits)
        raise UserError(f"bits: no pattern for the layer {names[0]!r} and no '*' for the rest; received {known}")
    return [*exact, *sorted(wild, key="*".__eq__)]


def build(
    output: Step, widths: Mapping[Step, BitWidths], weights: Mapping[Step, StoredWeights] | None, name: str
) -> keras.Model:
    """The network as a Keras model.

    Args:
        output: Its scores.
        widths: Pattern of every step.
        weights: Starting weights of every product; None draws WAGE's.
        name: Of the model.

    Raises:
        UserError: If a layer has no quantized one.
    """
    image, tensors = _tensors(output, widths, weights)
    scores = tensors[output]
    if not isinstance(output, Activation):
        scores = QError(widths[output], name=_unique("scores_error", {step.name for step in tensors}))(scores)
    model = keras.Model(image, scores, name=name)
    for step, stored in (weights or {}).items():
        model.get_layer(step.name).set_weights([stored.kernel, *([] if stored.bias is None else [stored.bias])])
    return model


def activations(output: Step, weights: Mapping[Step, StoredWeights], images: np.ndarray) -> dict[Step, np.ndarray]:
    """Values of every activation of the network in float32, some thousands for every batch of images.

    Args:
        output: The network.
        weights: Float weights of every product.
        images: Pixels.
    """
    found = [step for step in in_order(output) if isinstance(step, Activation)]
    image, tensors = _tensors(output, dict.fromkeys(in_order(output), FLOAT), weights)
    model = keras.Model(image, [tensors[output], *(tensors[step] for step in found)])
    for step, stored in weights.items():
        model.get_layer(step.name).set_weights([stored.kernel, *([] if stored.bias is None else [stored.bias])])
    generator = np.random.default_rng(0)
    samples = collections.defaultdict(list)
    for start in range(0, len(images), _BATCH):
        _, *values = keras.tree.flatten(model.predict_on_batch(images[start : start + _BATCH]))
        for step, value in zip(found, values, strict=True):
            samples[step].append(generator.choice(np.ravel(value), min(value.size, _VALUES_PER_BATCH), replace=False))
    return {step: np.concatenate(parts) for step, parts in samples.items()}


def _tensors(
    output: Step, widths: Mapping[Step, BitWidths], weights: Mapping[Step, StoredWeights] | None
) -> tuple[keras.KerasTensor, dict[Step, keras.KerasTensor]]:
    """The Keras tensor of the image and of every step's output."""
    tensors: dict[Step, keras.KerasTensor] = {}
    names: set[str] = set()
    image = None
    for step in in_order(output):
        if isinstance(step, Product) and step.name in names:
            raise cannot(
                step.name, "is used twice, or batch normalization goes around it", "give each use its own layer"
            )
        name = _unique(step.name, names)
        names.add(name)
        inputs = [tensors[each] for each in step.inputs]
        if isinstance(step, Pixels):
            image = keras.Input(step.shape[1:], dtype=step.dtype, name="image")
            tensors[step] = QRescaling(step.scale, step.offset, widths[step], name=name)(image)
        elif isinstance(step, Product):
            tensors[step] = _kernel_layer(step, widths[step], weights and weights[step])(*inputs)
        elif isinstance(step, Activation):
            tensors[step] = QActivation(widths[step], _function(step, widths[step]), name=name)(*inputs)
        else:
            layer = step.layer_class.from_config({**step.config, "name": name, "dtype": "float32"})
            tensors[step] = layer(inputs if len(inputs) > 1 else inputs[0])
    return image, tensors


def _function(step: Activation, bits: BitWidths) -> str | None:
    """The activation function; the grid of quantized activations ends at a power of two of its own in place of 6."""
    return "relu" if step.function == "relu6" and bits.a is not None else step.function


def _kernel_layer(step: Product, bits: BitWidths, stored: StoredWeights | None) -> keras.Layer:
    if type(step) not in _LAYERS:
        raise cannot(step.name, f"{type(step).__name__} has no quantized layer yet", "use Conv2D")
    settings = {"use_bias": False} if stored is None else {"use_bias": stored.bias is not None, "alpha": stored.alpha}
    return _LAYERS[type(step)](bits=bits, name=step.name, **settings, **step.settings)


def _unique(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    return next(each for number in itertools.count(1) if (each := f"{name}_{number}") not in taken)
