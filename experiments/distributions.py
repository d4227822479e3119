"""Measures how W, A, E and G of a finished run are distributed, layer by layer, with `wage_tf.probe`."""

from __future__ import annotations

from pathlib import Path

import keras

from wage_tf import ops
from wage_tf.cli import sources
from wage_tf.probe import Measurement, Probe
from wage_tf.runs import training

_IMAGES = 128


def of_run(directory: Path, data_dir: str | None = None) -> dict[str, object]:
    """Returns histograms and scalars of a finished run's network on a fixed batch of training images.

    Returns:
        `histograms`: by operand and layer (`W/conv1`; see `probe.Measurement`) the `centres` of the bins, the `counts`
        and whether the tensor is `on_grid`; `scalars`: by the same kind of name a number. Errors and gradients before
        their quantizers are given in the units that they have behind them.
    """
    config, trained = sources.load(str(directory))
    config, dataset = sources.data_of(config, trained, None, data_dir, None)
    model = training.prepare(config, dataset)
    model.set_weights(trained.get_weights())
    batch = dataset.probe_batch(_IMAGES, config.augmentation)
    measured = Probe(model, *batch).measure()
    histograms = {
        name: {
            "centres": [float(f"{centre / _unit(name, model, measured):.6g}") for centre in histogram.centres],
            "counts": [int(count) for count in histogram.counts],
            "on_grid": histogram.on_grid,
        }
        for name, histogram in measured.histograms.items()
    }
    return {"histograms": histograms, "scalars": measured.scalars}


def _unit(name: str, model: keras.Model, measured: Measurement) -> float:
    """What a raw error or gradient is divided by before it is rounded: its shift, and for a gradient 1/(η·σ(k_G))."""
    operand, layer = name.split("/")
    if operand not in ("E_raw", "G_raw"):
        return 1.0
    exponent = measured.scalars.get(f"{operand[0]}_shift/{layer}")
    if exponent is None:
        return 1.0
    if operand == "E_raw":
        return 2.0**exponent
    return 2.0**exponent / (float(model.optimizer.learning_rate) * ops.step_size(model.get_layer(layer).bits.g))
