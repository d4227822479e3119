"""Exports the model of a finished run."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wage_tf.commands import load_run
from wage_tf.errors import UserError
from wage_tf.export.c import buffer_bytes, write_c
from wage_tf.export.card import Card
from wage_tf.export.litert import write_litert
from wage_tf.export.packed import write_packed
from wage_tf.export.stages import stages
from wage_tf.integer import freeze

if TYPE_CHECKING:
    import keras

    from wage_tf.runs import RunConfig

_FLOAT32_BYTES = 4


@dataclasses.dataclass(frozen=True)
class Export:
    """What was made.

    Attributes:
        path: The file, or the folder of C sources.
        size: Bytes of the file; for C those of the packed weights.
        float_size: Bytes of the weights in float32.
        macs: Multiply-accumulates per image.
        buffer: Bytes of the largest pair of activations; for C those of all static buffers.
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


def export_run(
    run_dir: str | os.PathLike, to: str, out: str | os.PathLike | None = None, accumulators: bool = False
) -> Export:
    """Exports the model of a run directory.

    Args:
        run_dir: A directory that train.py wrote, with its model.keras.
        to: "litert", "packed" or "c".
        out: The file, for C the folder; None puts it beside the run directory under its name.
        accumulators: Keep the stored weights in a packed file, so that training can go on.

    Raises:
        UserError: If there is no finished run, or its model has no such form.
    """
    from wage_tf.costs import model_costs

    if to not in _WRITERS:
        raise UserError(f"to: one of {', '.join(_WRITERS)}; received {to!r}")
    if accumulators and to != "packed":
        raise UserError(f"accumulators: only a packed file holds them; received to = {to!r}")
    config, model = load_run(str(run_dir))
    graph = freeze(model)
    suffix, write = _WRITERS[to]
    source = Path(run_dir).resolve()
    path = source.with_name(source.name + suffix) if out is None else Path(out)
    if to != "c" and path.is_dir():
        raise UserError(f"{path} is a folder: {to} goes into a file")
    size = write(path, graph, card_of(config, model), **({"accumulators": True} if accumulators else {}))
    total = model_costs(model).total
    buffer = buffer_bytes(stages(graph)) if to == "c" else total.activation_bytes
    return Export(path, size, _FLOAT32_BYTES * total.parameters, total.macs, buffer, total.energy_inference)


def card_of(config: RunConfig, model: keras.Model) -> Card:
    """The metadata of a run's model, one that `freeze` takes."""
    from wage_tf.layers import QRescaling

    rescaling = next(layer for layer in model.layers if isinstance(layer, QRescaling))
    pattern = config.bits if isinstance(config.bits, str) else ", ".join(f"{k}: {v}" for k, v in config.bits.items())
    preprocessing = f"raw uint8 pixels x, inside as x * {rescaling.scale:g} {rescaling.offset:+g} rounded half to even"
    return Card(f"{config.model} on {Path(config.dataset).name}", pattern, preprocessing, class_names(config))


def class_names(config: RunConfig) -> tuple[str, ...]:
    """Names of the classes where they can be had without the data; else none."""
    from wage_tf.datasets import names

    if config.dataset == "digits":
        return tuple("0123456789")
    if config.dataset in names():
        import tensorflow_datasets as tfds

        return tuple(tfds.builder(config.dataset, data_dir=config.data_dir).info.features["label"].names)
    with contextlib.suppress(OSError, ValueError):
        return tuple(sorted(entry.name for entry in (Path(config.dataset) / "train").iterdir() if entry.is_dir()))
    return ()


_WRITERS: dict[str, tuple[str, Callable[..., int]]] = {
    "litert": (".tflite", write_litert),
    "packed": (".wage", write_packed),
    "c": ("-c", write_c),
}
