"""A finished run of scikit-learn's digits, untrained, for the commands."""

import dataclasses
import json

import keras

import models
from wage_tf.runs import RunConfig

CONFIG = RunConfig(
    dataset="digits",
    data_dir=None,
    bits="2-8-8-8",
    beta=None,
    model="lenet5",
    width=0.1,
    batch_size=32,
    epochs=1,
    schedule="8@0",
    seed=3,
    limit=None,
    image_size=None,
    checkpoint_steps=0,
    histogram_freq=0,
)


def write_run(folder, bits="2-8-8-8", model=None):
    keras.utils.set_random_seed(0)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(dataclasses.replace(CONFIG, bits=bits))))
    model = model or models.build("lenet5", bits, (28, 28, 1), 10, width=CONFIG.width)
    model.save(folder / "model.keras")
    return model
