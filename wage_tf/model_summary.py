"""A model at a glance: where its integers are, and what they cost."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterator

import keras

from wage_tf.bits import BitWidths
from wage_tf.costs import human, mac_price, model_costs
from wage_tf.layers.base import QuantizedKernel
from wage_tf.optimizers import IntegerSGD

_HEADER = ("layer", "W-A-G-E", "alpha", "weights", "MACs", "forward", "training step")
_UNITS = ("", "", "J", "J")
_FLOAT = BitWidths(None, None, None, None)


def summary(model: keras.Model, print_fn: Callable[[str], object] | None = None) -> str:
    """Returns a table of a model's layers that have bit widths or weights: pattern, α, weights, MACs, energy per image.

    A model whose layers form a graph is counted by `costs.model_costs`. Any other, such as a subclassed one, by the
    shapes that its layers were built with and by their own patterns, every layer as if others came before it; what
    they do not tell is a question mark.

    Args:
        model: A built model of any kind.
        print_fn: Called with the text, such as `print`, as that of Keras' `summary`.

    Raises:
        ValueError: If the model has not been built.
    """
    if not model.built:
        raise ValueError(f"model: has to be built, or called on a batch; received {model.name!r} without weights")
    rows = [_HEADER, *_rows(model)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = "<<" + ">" * (len(_HEADER) - 2)
    lines = ["  ".join(f"{t:{side}{w}}" for t, side, w in zip(row, sides, widths, strict=True)) for row in rows]
    optimizer = getattr(model, "optimizer", None)
    has_gradient_widths = any(hasattr(v, "bits") and v.bits.g for v in model.trainable_variables)
    if optimizer is not None and not isinstance(optimizer, IntegerSGD) and has_gradient_widths:
        lines.append(f"G has no effect: {type(optimizer).__name__} updates in float32, IntegerSGD in integers")
    text = "\n".join(line.rstrip() for line in lines)
    if print_fn is not None:
        print_fn(text)
    return text


def _rows(model: keras.Model) -> Iterator[tuple[str, ...]]:
    layers = model._flatten_layers(include_self=False)
    names = collections.Counter(layer.name for layer in layers)
    try:
        counted = {layer.name: layer for layer in model_costs(model).layers}
    except ValueError:
        counted = {}
    totals: list[float | None] = [0, 0, 0.0, 0.0]
    for layer in layers:
        bits, weights = getattr(layer, "bits", None), sum(math.prod(w.shape) for w in layer._trainable_variables)
        if bits is None and not weights:
            continue
        counts: tuple[int | None, float | None, float | None] = (0, 0.0, 0.0)
        if isinstance(layer, (QuantizedKernel, keras.layers.Conv2D, keras.layers.Dense)):
            cost = counted.get(layer.name) if names[layer.name] == 1 else None
            if cost is not None:
                counts = cost.macs, cost.energy_inference, cost.energy_training
            else:
                counts = _energy(layer, bits or _FLOAT)
        for index, value in enumerate((weights, *counts)):
            totals[index] = None if value is None or totals[index] is None else totals[index] + value
        alpha = f"{layer.alpha:g}" if isinstance(layer, QuantizedKernel) else ""
        name = layer.name if names[layer.name] == 1 else layer.path
        yield (name, str(bits or _FLOAT), alpha, *map(_cell, (weights, *counts), _UNITS))
    yield ("total", "", "", *map(_cell, totals, _UNITS))


def _energy(layer: keras.layers.Layer, bits: BitWidths) -> tuple[int | None, float | None, float | None]:
    """MACs, and µJ of the forward pass and of a step without its update; None where the image's size is not known."""
    shape = layer.compute_output_shape(layer.get_build_config()["input_shape"])
    if None in shape[1:]:
        return None, None, None
    macs = math.prod(layer.kernel.shape) * math.prod(shape[1:-1])
    forward, error, gradient = (
        macs * mac_price(x, y).energy * 1e-6 for x, y in ((bits.w, bits.a), (bits.w, bits.e), (bits.a, bits.e))
    )
    return macs, forward, forward + error + gradient


def _cell(value: float | None, unit: str) -> str:
    if value is None:
        return "?"
    return human(value * 1e-6 if unit else value, unit) if value else ""
