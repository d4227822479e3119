"""The programs of a packed training: the network's own training and test steps on images that stay on the device."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from experiments.pjrt_lowering import Lowered, lower
from wage_tf.datasets import Augmentation, Dataset

LEARNING_RATE = "learning_rate"


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Every variable of a compiled model, optimizer and metrics included, by its path; η's is `LEARNING_RATE`."""
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    rate = getattr(model.optimizer, "_learning_rate", None)
    return {LEARNING_RATE if variable is rate else variable.path: variable for variable in variables}


def lowered_programs(
    model: keras.Model, dataset: Dataset, batch_size: int, test_batch_size: int, augmentation: Augmentation | None
) -> dict[str, Lowered]:
    """Lowers "train" and "test", and "train_last" and "test_last" where the last batch is smaller.

    Arguments besides the variables: `images` uint8 [n, height, width, channels], `labels` int32 [n], `batch` the number
    of the step in its epoch; in training `order` int32 [n], the epoch's, and with augmentation `draws` float32
    [steps, 3, batch_size], the uniform numbers that `Augmentation.random` draws at each step (`last_draws` [1, 3, rest]
    for the last).

    Args:
        model: Built and compiled, the optimizer and the metrics built too.
        dataset: Gives the sizes.
        batch_size: Images of a training step.
        test_batch_size: Images of a test step.
        augmentation: The recipe's.
    """
    variables = {name: variable.value for name, variable in named_variables(model).items()}

    def programs(name: str, size: int, batch: int, make: Callable[[str, int], tuple]) -> dict[str, Lowered]:
        sizes = {name: batch, f"{name}_last": size % batch}
        wanted = {part: b for part, b in sizes.items() if 0 < b <= size}
        return {part: lower(*make(part, b), variables) for part, b in wanted.items()}

    def train(name: str, size: int) -> tuple:
        return _training(model, dataset, name, size, batch_size, augmentation or Augmentation())

    def test(name: str, size: int) -> tuple:
        return _test(model, dataset, size, test_batch_size, augmentation or Augmentation())

    return {
        **programs("train", dataset.train_size, batch_size, train),
        **programs("test", dataset.test_size, test_batch_size, test),
    }


def _training(
    model: keras.Model, dataset: Dataset, name: str, size: int, batch_size: int, augmentation: Augmentation
) -> tuple[Callable, dict[str, tf.TensorSpec]]:
    is_last = size < batch_size
    inputs = {
        **_parts(dataset, dataset.train_size),
        "order": tf.TensorSpec([dataset.train_size], tf.int32),
        "batch": tf.TensorSpec([], tf.int32),
    }
    if augmentation != Augmentation():
        steps = 1 if is_last else dataset.train_size // batch_size
        inputs["last_draws" if is_last else "draws"] = tf.TensorSpec([steps, 3, size], tf.float32)

    def step(
        images: tf.Tensor, labels: tf.Tensor, order: tf.Tensor, batch: tf.Tensor, *draws: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        chosen = tf.slice(order, [batch * batch_size], [size])
        pixels = tf.gather(images, chosen)
        if draws:
            pixels = augmentation.drawn(pixels, draws[0][0 if is_last else batch])
        return model.train_step((pixels, tf.one_hot(tf.gather(labels, chosen), dataset.num_classes)))

    return step, inputs


def _test(
    model: keras.Model, dataset: Dataset, size: int, batch_size: int, augmentation: Augmentation
) -> tuple[Callable, dict[str, tf.TensorSpec]]:
    def step(images: tf.Tensor, labels: tf.Tensor, batch: tf.Tensor) -> dict[str, tf.Tensor]:
        first = batch * batch_size
        pixels = tf.slice(images, [first, 0, 0, 0], [size, *images.shape[1:]])
        targets = tf.one_hot(tf.slice(labels, [first], [size]), dataset.num_classes)
        return model.test_step((augmentation.central(pixels), targets))

    return step, {**_parts(dataset, dataset.test_size), "batch": tf.TensorSpec([], tf.int32)}


def _parts(dataset: Dataset, size: int) -> dict[str, tf.TensorSpec]:
    return {
        "images": tf.TensorSpec([size, *dataset.input_shape], tf.uint8),
        "labels": tf.TensorSpec([size], tf.int32),
    }
