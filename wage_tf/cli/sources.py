"""Trained models that commands take: a run directory, or a `.keras` file."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from wage_tf import datasets, recipes
from wage_tf.datasets import Dataset
from wage_tf.errors import UserError
from wage_tf.runs import training
from wage_tf.runs.config import Data, RunConfig, resolve
from wage_tf.runs.directory import RunDirectory
from wage_tf.runs.model_file import load_model


def load(path: str) -> tuple[RunConfig | None, keras.Model]:
    """Returns a run's configuration and model, or the model of a `.keras` file.

    Raises:
        UserError: If there is no finished run or model file, or it is damaged.
    """
    if path.endswith(".keras"):
        return None, load_model(path)
    run = RunDirectory(path)
    return run.read_config(), run.load_model()


def check_fits(dataset: Dataset, config: RunConfig | None, model: keras.Model) -> None:
    """Checks that a model takes the images of another data set than that of its run, and has its classes.

    Raises:
        UserError: Says what differs.
    """
    shape = model.input_shape[1:]
    if dataset.input_shape != shape:
        raise UserError(f"{dataset.name}: images of {dataset.input_shape}, the network takes {shape} (--image-size)")
    classes = labels_of(config)
    if classes and tuple(dataset.class_names) != classes:
        raise UserError(f"{dataset.name}: classes {_few(dataset.class_names)}, the network has {_few(classes)}")


def _few(names: Sequence[str]) -> str:
    return ", ".join([*names[:3], "..."] if len(names) > 3 else names)


def labels_of(config: RunConfig | None) -> tuple[str, ...]:
    """Names of the scores of a run's network; none where they are not known or it has no classes."""
    return () if config is None or config.data is None or config.reconstructs else config.data.classes


def data_of(
    config: RunConfig | None, name: str | None, data_dir: str | None, image_size: int | None
) -> tuple[RunConfig, Dataset]:
    """Returns the data of a run, unless another is named, and how it is trained.

    Raises:
        UserError: If there is neither a run nor a name, or the data is not what the run was trained on.
    """
    if config is not None and name is None:
        directory, size = data_dir or config.data_dir, image_size or config.image_size
        dataset = datasets.load(config.dataset, directory, config.limit, size)
        config.check_data(dataset)
        return config, training.data_for(config, dataset)
    if name is None:
        raise UserError("a .keras file does not say what it was trained on: give --dataset")
    dataset = datasets.load(name, data_dir, image_size=image_size)
    recipe = recipes.get(name, dataset.input_shape)
    return resolve(Data.of(dataset), recipe, dataset=name, data_dir=data_dir, image_size=image_size), dataset
