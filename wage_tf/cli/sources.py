"""Trained models that commands take: a run directory, or a `.keras` file."""

from __future__ import annotations

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


def labels_of(config: RunConfig | None) -> tuple[str, ...]:
    """Names of the scores of a run's network; none where they are not known or it has no classes."""
    return () if config is None or config.data is None or config.reconstructs else config.data.classes


def data_of(
    config: RunConfig | None, model: keras.Model, name: str | None, data_dir: str | None, image_size: int | None
) -> tuple[RunConfig, Dataset]:
    """Returns the data of a run, unless another is named, and how it is trained: as in the run, if there is one.

    Raises:
        UserError: If there is neither a run nor a name, if the data is not what the run was trained on, or if another's
            images or number of classes are not the model's.
    """
    if config is not None and name is None:
        directory, size = data_dir or config.data_dir, image_size or config.image_size
        dataset = datasets.load(config.dataset, directory, config.limit, size)
        config.check_data(dataset)
        return config, training.data_for(config, dataset)
    if name is None:
        raise UserError("a .keras file does not say what it was trained on: give --dataset")
    dataset = datasets.load(name, data_dir, image_size=image_size)
    place = {"dataset": name, "data_dir": data_dir, "image_size": image_size}
    if config is None:
        config = resolve(Data.of(dataset), recipes.get(name, dataset.input_shape), **place)
    else:
        config = config.model_copy(update={**place, "limit": None})
    dataset = training.data_for(config, dataset)
    _check_fits(dataset, config, model)
    return config, dataset


def _check_fits(dataset: Dataset, config: RunConfig, model: keras.Model) -> None:
    shape, taken = dataset.input_shape, model.input_shape[1:]
    if config.augmentation is not None:
        shape = config.augmentation.output_shape(shape)
    if shape != taken:
        raise UserError(f"{dataset.name}: gives images of {shape}, the network takes {taken} (--image-size)")
    if not config.reconstructs and model.output_shape[1:] != (dataset.num_classes,):
        scores = model.output_shape[1:]
        raise UserError(f"{dataset.name}: has {dataset.num_classes} classes, the network gives scores of {scores}")
