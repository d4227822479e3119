"""Measures how W, A, E and G of a finished run are distributed, layer by layer, with `wage_tf.probe`."""

from __future__ import annotations

from pathlib import Path

import models
from wage_tf import datasets, training
from wage_tf.commands import load_run
from wage_tf.probe import Probe

_IMAGES = 128


def of_run(directory: Path, data_dir: str | None = None) -> dict[str, object]:
    """Returns histograms and scalars of a finished run's network on a fixed batch of training images.

    Returns:
        `histograms`: by operand and layer (`W/conv1`; see `probe.Measurement`) the `centres` of the bins, the `counts`
        and whether the tensor is `on_grid`; `scalars`: by the same kind of name a number.
    """
    config, trained = load_run(str(directory))
    dataset = datasets.load(config.dataset, data_dir or config.data_dir, config.limit, config.image_size)
    model = training.prepare(config, dataset, models.build)
    model.set_weights(trained.get_weights())
    batch = dataset.probe_batch(_IMAGES, training.recipe_of(config, dataset).augmentation)
    measured = Probe(model, *batch).measure()
    histograms = {
        name: {
            "centres": [round(float(centre), 9) for centre in histogram.centres],
            "counts": [int(count) for count in histogram.counts],
            "on_grid": histogram.on_grid,
        }
        for name, histogram in measured.histograms.items()
    }
    return {"histograms": histograms, "scalars": measured.scalars}
