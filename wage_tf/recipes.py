"""The paper's hyperparameters per data set: network, loss, batch, epochs, η schedule, augmentation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import keras

from wage_tf.bits import BitWidths
from wage_tf.datasets import Augmentation
from wage_tf.losses import SumSquaredError

Schedule = tuple[tuple[int, float], ...]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a data set is trained.

    Attributes:
        model: Name of the network.
        batch_size: Images per step.
        epochs: Passes over the training images.
        schedule: (first epoch, η) pairs at k_G = 8.
        augmentation: What training images go through; None for nothing.
        softmax: Softmax cross-entropy in place of the sum of squared errors.
        float_learning_rate: First learning rate of plain SGD on float weights, for f-…-f-…; later ones keep the
            schedule's ratios. The published sources give none: this one was tried out here.
        latent_learning_rate: The same on the stored weights of quantized layers, for 2-…-f-…. Their gradient passes
            straight through α, and they have the grid's steps to cross, so they need a far larger rate.
    """

    model: str
    batch_size: int
    epochs: int
    schedule: Schedule
    augmentation: Augmentation | None = None
    softmax: bool = False
    float_learning_rate: float = 2**-11
    latent_learning_rate: float = 2**-5

    def loss(self) -> keras.losses.Loss:
        """The loss, summed over the batch as WAGE's gradients are."""
        if self.softmax:
            return keras.losses.CategoricalCrossentropy(from_logits=True, reduction="sum")
        return SumSquaredError()

    def schedule_for(self, bits: BitWidths | str | Mapping[str, BitWidths | str]) -> Schedule:
        """The schedule at other bit widths: η·2^(k_G − 8), or plain SGD's learning rates for k_G = f.

        η counts in steps of the grid σ(k_G), so it halves with every bit removed (paper, section 4.3). Where layers
        differ, the first one's pattern decides.
        """
        pattern = BitWidths.parse(next(iter(bits.values())) if isinstance(bits, Mapping) else bits)
        if pattern.g is not None:
            factor = 2.0 ** (pattern.g - 8)
        else:
            first = self.float_learning_rate if pattern.w is None else self.latent_learning_rate
            factor = first / self.schedule[0][1]
        return tuple((epoch, eta * factor) for epoch, eta in self.schedule)


_MNIST = Recipe("lenet5", 128, 100, ((0, 1.0),))
_CIFAR10 = Recipe("vgg7", 128, 300, ((0, 8.0), (200, 1.0), (250, 0.125)), Augmentation(pad=4, flip=True))
_SVHN = Recipe("vgg7", 128, 40, ((0, 8.0),), Augmentation(pad=4))
_IMAGENET = Recipe(
    "alexnet", 256, 80, ((0, 32.0), (40, 4.0), (60, 0.5)), Augmentation(crop=224, flip=True), softmax=True
)

_RECIPES = {
    "digits": Recipe("lenet5", 32, 30, ((0, 8.0),)),
    "mnist": _MNIST,
    "fashion_mnist": _MNIST,
    "cifar10": _CIFAR10,
    "cifar100": _CIFAR10,
    "svhn_cropped": _SVHN,
    "imagenet2012": _IMAGENET,
}
_SMALL_IMAGES = Recipe("vgg7", 128, 100, ((0, 8.0), (67, 1.0), (84, 0.125)), Augmentation(pad=4, flip=True))
_LARGE_SIDE = 224
_LAST_EPOCH = 1_000_000


def get(dataset: str, input_shape: tuple[int, int, int] | None = None) -> Recipe:
    """Returns the recipe of a data set.

    Args:
        dataset: Name of a data set (`wage_tf.datasets.names`), or anything else for one's own images.
        input_shape: Height, width and channels, which decide for one's own images: VGG7 and squared error, or from
            224 pixels on AlexNet and softmax as for ImageNet.
    """
    if dataset in _RECIPES:
        return _RECIPES[dataset]
    if input_shape is not None and min(input_shape[:2]) >= _LARGE_SIDE:
        return _IMAGENET
    return _SMALL_IMAGES


def parse_schedule(text: str) -> Schedule:
    """Reads `"8@0,1@200,0.125@250"`: η and the epoch it starts from.

    Raises:
        ValueError: If an entry is not η@EPOCH, the epochs do not rise from 0 to at most a million, or an η is not
            positive.
    """
    try:
        pairs = tuple((int(epoch), float(eta)) for eta, epoch in (entry.split("@") for entry in text.split(",")))
    except ValueError:
        raise ValueError(_bad_schedule(text)) from None
    epochs = [epoch for epoch, _ in pairs]
    rises = epochs[0] == 0 and epochs == sorted(set(epochs)) and epochs[-1] <= _LAST_EPOCH
    if not rises or not all(0 < eta < math.inf for _, eta in pairs):
        raise ValueError(_bad_schedule(text))
    return pairs


def format_schedule(schedule: Schedule) -> str:
    """Writes a schedule as `parse_schedule` reads it."""
    return ",".join(f"{eta:.12g}@{epoch}" for epoch, eta in schedule)


def learning_rate(schedule: Schedule, steps_per_epoch: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns what a Keras optimizer takes: a number, or Keras' piecewise constant schedule over steps."""
    if len(schedule) == 1:
        return schedule[0][1]
    boundaries = [epoch * steps_per_epoch - 1 for epoch, _ in schedule[1:]]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, [eta for _, eta in schedule])


def _bad_schedule(text: str) -> str:
    return (
        "schedule: pairs of learning rate and first epoch, epochs rising from 0, such as 8@0,1@200,0.125@250; "
        f"received {text!r}"
    )
