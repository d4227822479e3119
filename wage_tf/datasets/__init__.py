"""Images and labels for training: named data sets, image folders and arrays, in a reproducible order.

`load` finds a data set by its name or path. The `Dataset` it returns gives batches that depend on the seed and the
step alone, so that a resumed run sees what an uninterrupted one would have seen.
"""

import os

from wage_tf.datasets.augmentation import Augmentation
from wage_tf.datasets.catalog import CATALOG
from wage_tf.datasets.folder import load_folder
from wage_tf.datasets.pipeline import Dataset
from wage_tf.errors import UserError

__all__ = ["Augmentation", "Dataset", "load", "names"]

_LARGEST_IMAGE_SIZE = 8192


def names() -> tuple[str, ...]:
    """Returns the names that `load` knows; it takes paths to image folders as well."""
    return tuple(CATALOG)


def load(
    name: str, data_dir: str | os.PathLike | None = None, limit: int | None = None, image_size: int | None = None
) -> Dataset:
    """Loads a data set by name, or the image folder at a path.

    `digits` comes with scikit-learn and needs no files. The other names come from TensorFlow Datasets: prepared data
    in `data_dir` is used as it is; otherwise it is downloaded and prepared there. A folder has the layout
    `PATH/train/CLASS/IMAGE`, with `PATH/test/CLASS/IMAGE` optional (see `wage_tf.datasets.folder`).
    `imagenet2012` is read from the disk batch by batch; everything else is held in memory.

    Args:
        name: One of `names()`, or a path: an existing directory, or anything that contains a path separator.
        data_dir: Directory of TensorFlow Datasets; None means `TFDS_DATA_DIR` or, without it, TFDS's own default.
        limit: Keep only the first `limit` training images (all of them, where there are fewer).
        image_size: Resize the images' shorter side to this and crop the central square. For image folders
            (None: images must have one size already) and `imagenet2012` (None: 256).

    Returns:
        A `Dataset`.

    Raises:
        UserError: Unknown name, unusable argument, or data that is missing, cannot be fetched or is damaged.
    """
    name = os.fspath(name)
    if limit is not None and limit < 1:
        raise UserError(f"limit must be at least 1, received {limit}")
    if image_size is not None and not 1 <= image_size <= _LARGEST_IMAGE_SIZE:
        raise UserError(f"image_size must be 1 to {_LARGEST_IMAGE_SIZE}, received {image_size}")
    if name in CATALOG:
        return CATALOG[name].source.load(name, data_dir, limit, image_size)
    if os.path.isdir(name) or any(separator in name for separator in (os.sep, os.altsep) if separator):
        return load_folder(name, limit, image_size)
    raise UserError(f"unknown data set {name!r}: choose one of {', '.join(CATALOG)}, or give a folder's path")
