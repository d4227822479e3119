"""Exports any Keras model of quantized layers."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from wage_tf.costs import model_costs
from wage_tf.export.c import PREFIX
from wage_tf.export.c_layout import Layout
from wage_tf.export.c_tail import Training
from wage_tf.export.card import Card
from wage_tf.export.forms import check_form, write_form
from wage_tf.integer.freezing import read
from wage_tf.layers import QRescaling

_FLOAT32_BYTES = 4


@dataclasses.dataclass(frozen=True)
class Export:
    """What was made.

    Attributes:
        path: The file, or the folder of C sources.
        size: Bytes of the file; for C those of the weights.
        float_size: Bytes of the weights in float32.
        macs: Multiply-accumulates per image.
        buffer: For C bytes of all static buffers, the arena and a filter's unpacked weights; else of the largest pair
            of activations.
        energy: µJ per image by the cost model; arithmetic only.
    """

    path: Path
    size: int
    float_size: int
    macs: int
    buffer: int
    energy: float

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.size:,} bytes, 1/{self.float_size / self.size:.1f} of the float32 weights; "
            f"{self.macs:,} MACs, {self.buffer:,} bytes of buffers, {self.energy:.3g} µJ per image"
        )


def export_model(
    model: keras.Model,
    path: str | os.PathLike,
    to: str = "litert",
    *,
    name: str | None = None,
    labels: Sequence[str] = (),
    accumulators: bool = False,
    training: Training | None = None,
    prefix: str = PREFIX,
) -> Export:
    """`wage_tf.export.export_model`, once Keras is there."""
    path = Path(path)
    options: dict[str, Any] = {"accumulators": accumulators, "training": training, "prefix": prefix}
    check_form(path, to, **options)
    graph, calls = read(model)
    layers = {call.name: call.layer for call in calls}
    card = Card(name or model.name, _pattern(layers), _preprocessing(layers), tuple(labels))
    size = write_form(path, to, graph, card, **options)
    total = model_costs(model).total
    buffer = Layout.of(graph, training).buffer_bytes if to == "c" else total.activation_bytes
    return Export(path, size, _FLOAT32_BYTES * total.parameters, total.macs, buffer, total.energy_inference)


def _pattern(layers: dict[str, keras.Layer]) -> str:
    """The pattern of all kernels, or each layer's where they differ."""
    found = {name: str(layer.bits) for name, layer in layers.items() if hasattr(layer, "quantized_kernel")}
    patterns = set(found.values())
    return patterns.pop() if len(patterns) == 1 else ", ".join(f"{name}: {bits}" for name, bits in found.items())


def _preprocessing(layers: dict[str, keras.Layer]) -> str:
    rescaling = next(layer for layer in layers.values() if isinstance(layer, QRescaling))
    return f"raw uint8 pixels x, inside as x * {rescaling.scale:g} {rescaling.offset:+g} rounded half to even"
