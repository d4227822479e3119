"""The data sets known by name: scikit-learn's digits, and those of TensorFlow Datasets."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import tensorflow as tf

from wage_tf.datasets.pipeline import Dataset
from wage_tf.datasets.splits import RecordSplit, Shard, prefetched, records
from wage_tf.errors import UserError

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder


STREAMED_IMAGE_SIZE = 256
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_RECORD_FRAME = 16
"""Bytes that TFRecord adds to a record: its length and two checksums."""


class Source(Protocol):
    """Where the images of a data set come from."""

    def load(self, name: str, data_dir: str | os.PathLike | None, limit: int | None, image_size: int | None) -> Dataset:
        """Loads the data set; the arguments are those of `wage_tf.datasets.load`."""


@dataclass(frozen=True)
class Digits:
    """scikit-learn's digits, which need no files."""

    def load(self, name: str, data_dir: str | os.PathLike | None, limit: int | None, image_size: int | None) -> Dataset:
        """Enlarges scikit-learn's 1,797 scanned digits from 8x8 to 28x28 pixels and from 0..16 to 0..255.

        Every fifth digit of scikit-learn's order is a test image, always: 360, with 1,437 left for training. The order
        follows the writers, so both sets hold all of them.
        """
        from PIL import Image
        from sklearn.datasets import load_digits

        _refuse_image_size(name, image_size)
        digits = load_digits()
        pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        enlarged = [Image.fromarray(image).resize((28, 28), Image.Resampling.BILINEAR) for image in pixels]
        images, labels = np.stack([np.asarray(image) for image in enlarged])[..., None], digits.target.astype(np.int64)
        test = np.arange(len(labels)) % 5 == 0
        parts = images[~test][:limit], labels[~test][:limit], images[test], labels[test]
        return Dataset.from_arrays(name, *parts, class_names=tuple(map(str, digits.target_names)))


@dataclass(frozen=True)
class Tfds:
    """A data set of TensorFlow Datasets, which also names its classes.

    Attributes:
        site: Where its downloads come from; None if the user has to bring the files.
        train: The splits to train on.
        test: The split to test on.
        streamed: Whether it is too large for memory.
    """

    site: str | None
    train: tuple[str, ...] = ("train",)
    test: str = "test"
    streamed: bool = False

    def load(self, name: str, data_dir: str | os.PathLike | None, limit: int | None, image_size: int | None) -> Dataset:
        """Loads prepared files, or downloads and prepares them first."""
        if not self.streamed:
            _refuse_image_size(name, image_size)
        builder = prepared_builder(name, data_dir, self.site)
        with _naming_damage(builder.data_dir):
            train, test = _shards(builder, self.train), _shards(builder, (self.test,))
            if self.streamed:
                return _streamed(builder, train, test, limit, image_size or STREAMED_IMAGE_SIZE)
            parts = *_arrays(builder, train, limit), *_arrays(builder, test)
            return Dataset.from_arrays(builder.name, *parts, tuple(builder.info.features["label"].names))


def _refuse_image_size(name: str, image_size: int | None) -> None:
    if image_size is not None:
        raise UserError(f"image_size is for image folders and imagenet2012, not for {name}: leave it out")


def prepared_builder(name: str, data_dir: str | os.PathLike | None, site: str | None) -> "DatasetBuilder":
    """Returns the TFDS builder of a data set whose files are ready to read, after preparing them if need be.

    Raises:
        UserError: If the files are neither there nor to be had, damaged, or not on this machine. Nothing half-written
            stays behind.
    """
    place = os.fspath(data_dir or os.environ.get("TFDS_DATA_DIR", "the default directory of TensorFlow Datasets"))
    if _REMOTE.match(place):
        raise UserError(f"data_dir {place} is on another machine: copy it, and name a directory of this one")
    import tensorflow_datasets as tfds

    with _naming_damage(f"{name} in {place}"):
        builder = tfds.builder(name, data_dir=data_dir)
        if builder.is_prepared():
            return builder
    root = Path(builder.data_dir_root)
    existing = [folder for folder in (root / name, root) if folder.exists()]
    try:
        _check_site(site)
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-download-", dir=root) as downloads:
            config = tfds.download.DownloadConfig(manual_dir=root / "downloads" / "manual")
            builder.download_and_prepare(download_dir=downloads, download_config=config)
    except Exception as error:
        for folder in (root / name, root):
            if folder not in existing and folder.exists() and not any(folder.iterdir()):
                folder.rmdir()
        reason = " ".join(str(error).split())
        raise UserError(
            f"data set {name} is not in {root} and could not be prepared there ({reason}): name the TensorFlow"
            " Datasets directory that holds it (data_dir or TFDS_DATA_DIR), or get network access to download it"
        ) from error
    return builder


@contextlib.contextmanager
def _naming_damage(place: str) -> Iterator[None]:
    """Turns what TensorFlow Datasets raises over damaged files, which can be anything, into a UserError."""
    try:
        yield
    except (UserError, ImportError, MemoryError, tf.errors.ResourceExhaustedError):
        raise
    except Exception as error:
        raise UserError(f"{place} is damaged ({type(error).__name__}): delete it and prepare it again") from error


def _check_site(url: str | None) -> None:
    """Raises at once where a download would fail only after minutes of retries."""
    if url is None:
        return
    try:
        urlopen(Request(url, method="HEAD"), timeout=10).close()
    except HTTPError:
        return
    except OSError as error:
        raise OSError(f"{url} cannot be reached") from error


def _streamed(
    builder: "DatasetBuilder", train: tuple[Shard, ...], test: tuple[Shard, ...], limit: int | None, image_size: int
) -> Dataset:
    num_classes = builder.info.features["label"].num_classes

    def decode(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = tf.io.parse_single_example(serialized, _FEATURES)
        image = tf.io.decode_jpeg(features["image"], channels=3)
        label = features["label"]
        in_range = tf.debugging.Assert((label >= 0) & (label < num_classes), ["label out of range:", label])
        with tf.control_dependencies([in_range]):
            return central_square(image, image_size), tf.identity(label)

    shape = (image_size, image_size, 3)
    training_images = RecordSplit(train, shape, decode)
    if limit is not None:
        training_images = training_images.head(limit)
    names = tuple(builder.info.features["label"].names)
    return Dataset(builder.name, names, training_images, RecordSplit(test, shape, decode))


_FEATURES = {"image": tf.io.FixedLenFeature((), tf.string), "label": tf.io.FixedLenFeature((), tf.int64)}


def _shards(builder: "DatasetBuilder", splits: tuple[str, ...]) -> tuple[Shard, ...]:
    """Returns the files of several splits, one split after the other, with every byte that their description names."""
    for name in splits:
        if name not in builder.info.splits:
            raise UserError(f"{builder.data_dir} has no split {name!r} of {builder.name}: prepare it again")
        split = builder.info.splits[name]
        described = int(split.num_bytes) + _RECORD_FRAME * split.num_examples
        found = sum(os.path.getsize(file.filename) for file in split.file_instructions)
        if found != described:
            raise UserError(
                f"{builder.data_dir} is damaged (split {name!r} has {found} bytes, {described} by dataset_info.json): "
                "delete it and prepare it again"
            )
    return tuple(
        Shard(os.fspath(file.filename), file.skip, file.examples_in_shard - file.skip if file.take < 0 else file.take)
        for split in splits
        for file in builder.info.splits[split].file_instructions
    )


def _arrays(
    builder: "DatasetBuilder", shards: tuple[Shard, ...], limit: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads whole splits into memory: uint8 [n, height, width, channels], int64 [n]."""
    shape = builder.info.features["image"].shape

    def decode(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = tf.io.parse_example(serialized, _FEATURES)
        images = tf.map_fn(
            lambda image: tf.io.decode_image(image, channels=shape[-1], expand_animations=False),
            features["image"],
            fn_output_signature=tf.TensorSpec(shape, tf.uint8),
        )
        return images, features["label"]

    serialized = records(shards).take(-1 if limit is None else limit)
    batches = prefetched(serialized.batch(500).map(decode, tf.data.AUTOTUNE))
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def central_square(image: tf.Tensor, size: int) -> tf.Tensor:
    """Cuts out the central square and resizes it to [size, size]; uint8 in and out."""
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    side = tf.minimum(height, width)
    square = tf.image.crop_to_bounding_box(image, (height - side) // 2, (width - side) // 2, side, side)
    return tf.saturate_cast(tf.round(tf.image.resize(square, (size, size), antialias=True)), tf.uint8)
