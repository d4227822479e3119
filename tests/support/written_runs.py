"""A finished run of scikit-learn's digits, untrained, for the commands."""

import keras

from wage_tf import datasets, models, recipes
from wage_tf.bits import NetworkBits
from wage_tf.runs.config import Data, resolve
from wage_tf.runs.directory import RunDirectory

WIDTH = 0.1


def configuration(bits="2-8-8-8"):
    data = Data.of(datasets.load("digits"))
    return resolve(
        data,
        recipes.get("digits"),
        dataset="digits",
        bits=NetworkBits.parse(bits),
        width=WIDTH,
        epochs=1,
        seed=3,
        histogram_freq=0,
    )


def write_run(folder, bits="2-8-8-8", model=None):
    keras.utils.set_random_seed(0)
    RunDirectory(folder).create(configuration(bits))
    model = model or models.build("lenet5", bits, (28, 28, 1), 10, width=WIDTH)
    model.save(folder / "model.keras")
    return model
