"""The data sets known by name: where each comes from and how it is trained. A new one is one entry here."""

from __future__ import annotations

from typing import NamedTuple

from wage_tf.datasets.augmentation import Augmentation
from wage_tf.datasets.recipe import Recipe
from wage_tf.datasets.sources import Digits, Source, Tfds


class Entry(NamedTuple):
    """A data set: the source of its images and class names, and its recipe."""

    source: Source
    recipe: Recipe


_MNIST = Recipe("lenet5", 128, 100, ((0, 1.0),))
_CIFAR10 = Recipe("vgg7", 128, 300, ((0, 8.0), (200, 1.0), (250, 0.125)), Augmentation(pad=4, flip=True))
_SVHN = Recipe("vgg7", 128, 40, ((0, 8.0),), Augmentation(pad=4))
_IMAGENET_SCHEDULE = ((0, 32.0), (40, 4.0), (60, 0.5))
_IMAGENET = Recipe(
    "alexnet", 256, 80, _IMAGENET_SCHEDULE, Augmentation(crop=224, flip=True), loss="softmax_cross_entropy"
)
_SMALL_IMAGES = Recipe("vgg7", 128, 100, ((0, 8.0), (67, 1.0), (84, 0.125)), Augmentation(pad=4, flip=True))
_LARGE_SIDE = 224

CATALOG = {
    "digits": Entry(Digits(), Recipe("lenet5", 32, 30, ((0, 8.0),))),
    "mnist": Entry(Tfds("https://storage.googleapis.com/cvdf-datasets/mnist/"), _MNIST),
    "fashion_mnist": Entry(Tfds("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"), _MNIST),
    "cifar10": Entry(Tfds("https://www.cs.toronto.edu/~kriz/cifar.html"), _CIFAR10),
    "cifar100": Entry(Tfds("https://www.cs.toronto.edu/~kriz/cifar.html"), _CIFAR10),
    "svhn_cropped": Entry(Tfds("http://ufldl.stanford.edu/housenumbers/", train=("train", "extra")), _SVHN),
    "imagenet2012": Entry(Tfds(None, test="validation", streamed=True), _IMAGENET),
}


def recipe_of_images(input_shape: tuple[int, int, int] | None = None) -> Recipe:
    """The recipe of one's own images: VGG7 and squared error, or from 224 pixels on ImageNet's.

    Args:
        input_shape: Height, width and channels; None for small ones.
    """
    is_large = input_shape is not None and min(input_shape[:2]) >= _LARGE_SIDE
    return _IMAGENET if is_large else _SMALL_IMAGES
