"""What several readers of a data set take is, put together, what one reader takes: order, augmentation, last batch."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from support.batches import assert_same, numbered, take
from wage_tf.datasets import Augmentation
from wage_tf.datasets.splits import RecordSplit, Shard, Share

CLASSES = 3


@pytest.fixture(params=["in memory", "in records"])
def dataset(request, tmp_path):
    """23 training images and 7 to test on: with batches of 6 the last one of an epoch holds 5."""
    data = numbered(23, test=7, classes=CLASSES)
    return data if request.param == "in memory" else in_records(data, tmp_path)


def in_records(data, folder):
    splits = {}
    for name, split in (("train", data.train), ("test", data.test)):
        path, count = str(folder / name), 0
        with tf.io.TFRecordWriter(path) as writer:
            for image, label in split.in_order(100).unbatch():
                writer.write(bytes([int(label)]) + image.numpy().tobytes())
                count += 1
        splits[name] = RecordSplit((Shard(path, 0, count),), data.input_shape, decode)
    return dataclasses.replace(data, **splits)


def decode(serialized):
    values = tf.io.decode_raw(serialized, tf.uint8)
    return tf.reshape(values[1:], (5, 5, 3)), tf.cast(values[0], tf.int64)


def together(streams, n):
    """The batches of several streams, put together."""
    return [
        tuple(np.concatenate(parts) for parts in zip(*shares, strict=True))
        for shares in zip(*(take(stream, n) for stream in streams), strict=True)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 6])
def test_training_batches(dataset, count):
    augmentation = Augmentation(pad=1, flip=True)
    streams = [dataset.train_batches(6, 5, augmentation, 2, Share(index, count)) for index in range(count)]
    assert_same(together(streams, 9), take(dataset.train_batches(6, 5, augmentation, 2), 9))


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 8])
def test_test_batches(dataset, count):
    """Eight readers of batches of 4 images: half of them get none, and still the same number of batches."""
    streams = [dataset.test_batches(4, share=Share(index, count)) for index in range(count)]
    assert_same(together(streams, -1), take(dataset.test_batches(4), -1))


def test_shares_differ_by_one_image_at_most():
    for size in range(20):
        for count in (1, 2, 3, 7):
            bounds = [Share(index, count).bounds(size) for index in range(count)]
            assert [bounds[0][0], bounds[-1][1]] == [0, size]
            assert all(one[1] == other[0] for one, other in itertools.pairwise(bounds))
            sizes = {stop - first for first, stop in bounds}
            assert max(sizes) - min(sizes) <= 1


def test_other_readers_images_are_not_decoded(tmp_path):
    decoded = []

    def counted(serialized):
        image, label = decode(serialized)
        return image, tf.numpy_function(lambda value: decoded.append(value) or value, [label], tf.int64)

    data = in_records(numbered(12, test=1, classes=CLASSES), tmp_path)
    part = dataclasses.replace(data.train, decode=counted)
    list(part.in_order(6, Share(0, 3)))
    assert len(decoded) == 4
