"""The paper's hyperparameters per data set."""

from __future__ import annotations

from wage_tf.datasets.catalog import CATALOG, recipe_of_images
from wage_tf.datasets.recipe import Recipe

__all__ = ["Recipe", "get"]


def get(dataset: str, input_shape: tuple[int, int, int] | None = None) -> Recipe:
    """Returns the recipe of a data set.

    Args:
        dataset: Name of a data set (`wage_tf.datasets.names`), or anything else for one's own images.
        input_shape: Height, width and channels, which decide for one's own images: VGG7 and squared error, or from
            224 pixels on AlexNet and softmax as for ImageNet.
    """
    return CATALOG[dataset].recipe if dataset in CATALOG else recipe_of_images(input_shape)
