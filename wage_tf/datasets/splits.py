"""Where a training or test set keeps its images: in memory, or in record files that are read batch by batch.

Both kinds offer the same few methods, which `Dataset` builds on: `size`, `shape`, `head`, `tail`, `in_order` and
`shuffled`. Order comes from stateless operations alone: no generator's state and no global seed enters it.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

BLOCK = 4096
OPEN_FILES = 16
traced = tf.autograph.experimental.do_not_convert
"""Marks what a pipeline traces as free of Python's control flow: translating it would take a second of every start."""


@dataclass(frozen=True)
class Share:
    """The part of every batch that one of `count` readers takes: contiguous, in order, equal up to one image.

    Attributes:
        index: Which part, from 0.
        count: Number of parts.
    """

    index: int | tf.Tensor = 0
    count: int = 1

    def bounds(self, size: int | tf.Tensor) -> tuple[int | tf.Tensor, int | tf.Tensor]:
        """Returns the first row of the part and the first row after it, in a batch of `size` rows."""
        return self.index * size // self.count, (self.index + 1) * size // self.count

    def of(self, batch: tf.Tensor) -> tf.Tensor:
        """Returns the part of a batch; it is empty where the batch has fewer rows than there are parts."""
        first, stop = self.bounds(tf.shape(batch)[0])
        return batch[first:stop]


WHOLE = Share()


class Split(Protocol):
    """Labelled images that can be read in order or shuffled, by one reader or by several that share every batch."""

    @property
    def size(self) -> int:
        """Number of images."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""

    def head(self, n: int) -> "Split":
        """Returns the first `n` images."""

    def tail(self, n: int) -> "Split":
        """Returns the last `n` images."""

    def in_order(self, batch_size: int, share: Share = WHOLE) -> tf.data.Dataset:
        """Returns batches (uint8 [b, *shape], int64 [b]) in the stored order."""

    def shuffled(self, batch_size: int, key: tf.Tensor, first: tf.Tensor, share: Share = WHOLE) -> tf.data.Dataset:
        """Returns the batches of one pass in the order given by `key` (integer [2]), from batch `first` on."""

    def add_to(self, digest: "hashlib._Hash | hashlib.blake2b") -> None:
        """Adds to a digest what tells these images and labels from others."""


class ArraySplit:
    """Images in memory.

    Args:
        images: uint8 [n, height, width, channels].
        labels: int64 [n].
    """

    def __init__(self, images: np.ndarray | tf.Tensor, labels: np.ndarray | tf.Tensor) -> None:
        with tf.device("CPU:0"):
            self._images, self._labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)

    @property
    def size(self) -> int:
        """Number of images."""
        return self._images.shape[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        return tuple(self._images.shape[1:])

    def head(self, n: int) -> "ArraySplit":
        """Returns the first `n` images."""
        return ArraySplit(self._images[:n], self._labels[:n])

    def tail(self, n: int) -> "ArraySplit":
        """Returns the last `n` images."""
        return ArraySplit(self._images[self.size - n :], self._labels[self.size - n :])

    def in_order(self, batch_size: int, share: Share = WHOLE) -> tf.data.Dataset:
        """Returns batches (uint8 [b, *shape], int64 [b]) in the stored order."""
        return self._batches(tf.range(self.size), batch_size, 0, share)

    def shuffled(self, batch_size: int, key: tf.Tensor, first: tf.Tensor, share: Share = WHOLE) -> tf.data.Dataset:
        """Returns the batches of one pass in the order given by `key` (integer [2]), from batch `first` on."""
        order = tf.random.experimental.stateless_shuffle(tf.range(self.size), key)
        return self._batches(order, batch_size, first, share)

    def add_to(self, digest: "hashlib._Hash | hashlib.blake2b") -> None:
        """Adds shapes and contents."""
        for part in (self._images, self._labels):
            digest.update(repr(tuple(part.shape)).encode())
            digest.update(np.ascontiguousarray(part).data)

    def _batches(self, order: tf.Tensor, batch_size: int, first: int | tf.Tensor, share: Share) -> tf.data.Dataset:
        @traced
        def batch(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            chosen = share.of(order[index * batch_size : (index + 1) * batch_size])
            return tf.gather(self._images, chosen), tf.gather(self._labels, chosen)

        return tf.data.Dataset.range(first, -(-self.size // batch_size)).map(batch, tf.data.AUTOTUNE)


class Shard(NamedTuple):
    """A part of a TFRecord file: `take` records after the first `skip`."""

    path: str
    skip: int
    take: int


@dataclass(frozen=True)
class RecordSplit:
    """Images in TFRecord files, decoded when they are needed.

    A shuffled pass takes the files in random order, `OPEN_FILES` at a time, and shuffles the records that come out
    in blocks of `BLOCK`. Records that a resumed run skips, or that other readers share, are read but not decoded.

    Attributes:
        shards: The files, in the stored order.
        shape: (height, width, channels) that `decode` gives.
        decode: Maps one serialized record to (uint8 [*shape], int64 scalar).
    """

    shards: tuple[Shard, ...]
    shape: tuple[int, int, int]
    decode: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

    @property
    def size(self) -> int:
        """Number of images."""
        return sum(shard.take for shard in self.shards)

    def head(self, n: int) -> "RecordSplit":
        """Returns the first `n` images."""
        return RecordSplit(_part(self.shards, 0, n), self.shape, self.decode)

    def tail(self, n: int) -> "RecordSplit":
        """Returns the last `n` images."""
        return RecordSplit(_part(self.shards, self.size - n, self.size), self.shape, self.decode)

    def in_order(self, batch_size: int, share: Share = WHOLE) -> tf.data.Dataset:
        """Returns batches (uint8 [b, *shape], int64 [b]) in the stored order."""
        return self._batches(records(self.shards), batch_size, share)

    def shuffled(self, batch_size: int, key: tf.Tensor, first: tf.Tensor, share: Share = WHOLE) -> tf.data.Dataset:
        """Returns the batches of one pass in the order given by `key` (integer [2]), from batch `first` on."""
        order = tf.random.experimental.stateless_shuffle(tf.range(len(self.shards)), key)
        blocks = records(self.shards, order, OPEN_FILES).batch(BLOCK).enumerate()
        shuffled = blocks.map(
            traced(lambda index, block: tf.random.experimental.stateless_shuffle(block, tf.random.fold_in(key, index)))
        )
        return self._batches(shuffled.unbatch().skip(first * batch_size), batch_size, share)

    def add_to(self, digest: "hashlib._Hash | hashlib.blake2b") -> None:
        """Adds the files' names, sizes and the records taken of each: their contents would take too long to read."""
        for path, skip, take in self.shards:
            digest.update(repr((os.path.basename(path), os.path.getsize(path), skip, take)).encode())

    def _batches(self, serialized: tf.data.Dataset, batch_size: int, share: Share) -> tf.data.Dataset:
        if share.count == 1:
            return serialized.map(traced(self.decode), tf.data.AUTOTUNE).batch(batch_size)
        shares = serialized.batch(batch_size).map(traced(share.of))
        return shares.map(traced(self._decode_all), tf.data.AUTOTUNE)

    def _decode_all(self, serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image_and_label = tf.TensorSpec(self.shape, tf.uint8), tf.TensorSpec((), tf.int64)
        return tf.map_fn(self.decode, serialized, fn_output_signature=image_and_label)


def records(shards: Sequence[Shard], order: tf.Tensor | None = None, open_files: int = 1) -> tf.data.Dataset:
    """Returns the serialized records of `shards` in a fixed order.

    Args:
        shards: The parts of files to read.
        order: int32 [len(shards)], the order of the files; None is the given order.
        open_files: Number of files to read in turns; 1 reads one after the other.
    """
    paths, skips, takes = zip(*shards, strict=True)
    columns = tf.constant(paths), tf.constant(skips, tf.int64), tf.constant(takes, tf.int64)
    if order is not None:
        columns = tuple(tf.gather(column, order) for column in columns)
    return tf.data.Dataset.from_tensor_slices(columns).interleave(
        traced(lambda path, skip, take: tf.data.TFRecordDataset(path).skip(skip).take(take)),
        cycle_length=open_files,
        block_length=16,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


def prefetched(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Returns `batches`, made ahead of time on all cores, without tf.data's tuning of how many and how far ahead.

    The thread that tunes sleeps for as long as the iterator has lived, up to a minute, and the iterator's end may miss
    waking it and wait: `fit` stood still for half a minute at each epoch's validation.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)


def _part(shards: Sequence[Shard], start: int, stop: int) -> tuple[Shard, ...]:
    """Returns what holds the records `start` (inclusive) to `stop` (exclusive) of all `shards` together."""
    part, position = [], 0
    for path, skip, take in shards:
        low, high = max(start - position, 0), min(stop - position, take)
        if low < high:
            part.append(Shard(path, skip + low, high - low))
        position += take
    return tuple(part)
