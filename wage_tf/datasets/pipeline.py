"""The data set that training sees: sizes, names, and batches as a pure function of the seed and the step."""

import functools
import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from wage_tf.datasets.augmentation import Augmentation
from wage_tf.datasets.splits import WHOLE, ArraySplit, Share, Split, prefetched, traced
from wage_tf.errors import UserError

_ORDER, _AUGMENTATION = 0, 1
_FOREVER = 2**62


@dataclass(frozen=True)
class Dataset:
    """A training set and, where there is one, a test set of uint8 images with one label each.

    `load` and `Dataset.from_arrays` make one.

    Attributes:
        name: What messages and records call it.
        class_names: The class of label 0, of label 1, and so on.
        train: The training images.
        test: The test images, or None.
        rescaling: None for one-hot labels as targets; scale and offset where the images themselves are the targets.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split | None = None
    rescaling: tuple[float, float] | None = None

    @classmethod
    def from_arrays(
        cls,
        name: str,
        x_train: np.ndarray,
        y_train: np.ndarray,
        x_test: np.ndarray | None = None,
        y_test: np.ndarray | None = None,
        class_names: tuple[str, ...] | None = None,
    ) -> "Dataset":
        """Makes a data set of the user's own arrays.

        Args:
            name: What to call it.
            x_train: uint8 [n, height, width, channels].
            y_train: Integers [n] or [n, 1], from 0 to the number of classes - 1.
            x_test: Like `x_train`, with the same image shape; None where there is no test set.
            y_test: Like `y_train`.
            class_names: One name a class; None numbers the classes up to the largest label.

        Raises:
            UserError: If the arrays do not fit the above, each other, or hold fewer than two classes.
        """
        if (x_test is None) != (y_test is None):
            raise UserError(f"{name}: give both x_test and y_test, or neither")
        parts = {"train": _checked(name, "train", x_train, y_train)}
        if x_test is not None and y_test is not None:
            parts["test"] = _checked(name, "test", x_test, y_test)
            shapes = [images.shape[1:] for images, _ in parts.values()]
            if shapes[0] != shapes[1]:
                raise UserError(f"{name}: test images have shape {shapes[1]}, training images {shapes[0]}")
        if class_names is None:
            class_names = tuple(map(str, range(1 + max(labels.max() for _, labels in parts.values()))))
        for part, (_, labels) in parts.items():
            _check_range(f"{name}: {part}", labels, len(class_names))
        if len(class_names) < 2:
            raise UserError(f"{name}: at least two classes are needed, received {len(class_names)}")
        splits = {part: ArraySplit(*arrays) for part, arrays in parts.items()}
        return cls(name, tuple(class_names), splits["train"], splits.get("test"))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images before augmentation."""
        return self.train.shape

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def train_size(self) -> int:
        """Number of training images."""
        return self.train.size

    @property
    def test_size(self) -> int:
        """Number of test images; 0 if there is no test set."""
        return self.test.size if self.test else 0

    @functools.cached_property
    def digest(self) -> str:
        """Hexadecimal BLAKE2 digest of the images and labels; of a streamed set, of its files' names and parts."""
        found = hashlib.blake2b(digest_size=16)
        for split in filter(None, (self.train, self.test)):
            split.add_to(found)
        return found.hexdigest()

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns the number of batches that show every training image once; the last may be smaller.

        Raises:
            ValueError: If `batch_size` is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, received {batch_size}")
        return -(-self.train_size // batch_size)

    def train_batches(
        self,
        batch_size: int,
        seed: int,
        augmentation: Augmentation | None = None,
        start_step: int = 0,
        share: Share = WHOLE,
    ) -> tf.data.Dataset:
        """Returns the endless stream of training batches from global step `start_step` on.

        Each epoch shows every training image once, in an order of its own. The batch at a step is a pure function of
        the arguments other than `start_step`: a stream that starts at step k equals the rest of one that started at 0.

        Args:
            batch_size: Images in a batch; the last batch of an epoch holds the remainder.
            seed: Decides order and augmentation, any integer of 64 bits.
            augmentation: Applied at random; None gives the images as they are.
            start_step: Number of batches to leave out.
            share: The part of every batch to give; the parts together are the batch, augmentation included.

        Returns:
            (uint8 images [b, height, width, channels], float32 one-hot labels [b, num_classes]); see `reconstruction`.

        Raises:
            ValueError: If `batch_size` is below 1, `start_step` negative or the crop too large.
        """
        if start_step < 0:
            raise ValueError(f"start_step must not be negative, received {start_step}")
        steps = self.steps_per_epoch(batch_size)
        first_epoch, first_batch = divmod(start_step, steps)
        augmentation = augmentation or Augmentation()
        augmentation.output_shape(self.input_shape)

        @traced
        def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            first = tf.where(epoch == first_epoch, tf.constant(first_batch, tf.int64), 0)
            return self.train.shuffled(batch_size, _key(seed, epoch, _ORDER), first, share)

        @traced
        def augment(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            images, labels = batch
            if augmentation != Augmentation():
                size = tf.minimum(batch_size, self.train_size - tf.cast(step % steps, tf.int32) * batch_size)
                images = augmentation.random(images, _key(seed, step, _AUGMENTATION), share, size)
            return images, self._targets(images, labels)

        batches = tf.data.Dataset.range(first_epoch, _FOREVER).flat_map(one_epoch)
        numbered = tf.data.Dataset.zip(tf.data.Dataset.counter(start_step), batches)
        endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        return prefetched(numbered.map(augment, tf.data.AUTOTUNE).apply(endless))

    def test_batches(
        self, batch_size: int, augmentation: Augmentation | None = None, share: Share = WHOLE
    ) -> tf.data.Dataset:
        """Returns the test images once, in a fixed order, as batches like those of `train_batches`.

        Args:
            batch_size: Images in a batch; the last batch holds the remainder.
            augmentation: The one used in training; only its central crop applies here.
            share: The part of every batch to give.

        Raises:
            UserError: If there is no test set.
            ValueError: If `batch_size` is below 1 or the crop too large.
        """
        if self.test is None:
            raise UserError(f"data set {self.name} has no test images")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, received {batch_size}")
        return self._in_order(self.test, batch_size, augmentation, share)

    def probe_batch(self, n: int, augmentation: Augmentation | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Returns the first `n` training images and their one-hot labels as arrays, without randomness.

        Args:
            n: Number of images (all of them, where there are fewer).
            augmentation: The one used in training; only its central crop applies here.
        """
        images, labels = next(iter(self._in_order(self.train.head(n), n, augmentation)))
        return images.numpy(), labels.numpy()

    def split_validation(self, n: int) -> "Dataset":
        """Returns a data set that tests on the last `n` training images and trains on the others.

        The test set proper is not part of it, so that a choice made by validation error leaves it untouched.

        Raises:
            UserError: If `n` is below 1 or leaves no image to train on.
        """
        if not 1 <= n < self.train_size:
            raise UserError(f"validation images: give 1 to {self.train_size - 1} for {self.name}, received {n}")
        return replace(self, train=self.train.head(self.train_size - n), test=self.train.tail(n))

    def reconstruction(self, scale: float, offset: float) -> "Dataset":
        """Returns a data set whose targets are its own images, scale·x + offset, float32 [b, numbers of an image]."""
        return replace(self, rescaling=(scale, offset))

    def _in_order(
        self, split: Split, batch_size: int, augmentation: Augmentation | None, share: Share = WHOLE
    ) -> tf.data.Dataset:
        augmentation = augmentation or Augmentation()
        augmentation.output_shape(self.input_shape)

        @traced
        def prepare(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            images = augmentation.central(images)
            return images, self._targets(images, labels)

        return prefetched(split.in_order(batch_size, share).map(prepare, tf.data.AUTOTUNE))

    def _targets(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        if self.rescaling is None:
            return tf.one_hot(labels, self.num_classes)
        scale, offset = self.rescaling
        return tf.reshape(tf.cast(images, tf.float32) * scale + offset, [-1, math.prod(images.shape[1:])])


def _key(seed: int, counter: tf.Tensor, purpose: int) -> tf.Tensor:
    """Returns the int64 [2] seed of one epoch or step, different for each purpose."""
    return tf.random.fold_in(tf.stack([tf.constant(seed, tf.int64), counter]), tf.constant(purpose, tf.int64))


def _checked(name: str, part: str, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and int64 [n] labels after the checks that concern one part alone."""
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
        raise UserError(
            f"{name}: {part} images must be uint8 of shape [n, height, width, channels], none of them 0,"
            f" received {images.dtype} {list(images.shape)}"
        )
    if labels.shape not in ((len(images),), (len(images), 1)) or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(
            f"{name}: {part} labels must be one integer for each of {len(images)} images,"
            f" received {labels.dtype} {list(labels.shape)}"
        )
    return images, labels.reshape(-1).astype(np.int64)


def _check_range(what: str, labels: np.ndarray, num_classes: int) -> None:
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if wrong.size:
        raise UserError(f"{what} labels must be 0 to {num_classes - 1}, received {wrong[0]}")
