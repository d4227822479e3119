"""Data sets whose images are told apart by their pixels, and their batches as NumPy arrays."""

import itertools

import numpy as np

from wage_tf.datasets import Dataset


def numbered(n, size=(5, 5), classes=3, test=0):
    """A data set whose images are all different: image i holds i // 256 and i % 256 in its first two pixels."""
    images = np.zeros((n + test, *size, 3), np.uint8)
    images[:, 0, 0, :], images[:, 0, 1, :] = (np.arange(n + test)[:, None] // 256, np.arange(n + test)[:, None] % 256)
    labels = np.arange(n + test) % classes
    if not test:
        return Dataset.from_arrays("numbered", images, labels)
    return Dataset.from_arrays("numbered", images[:n], labels[:n], images[n:], labels[n:])


def order(images):
    return (images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 1, 0]).tolist()


def take(stream, n):
    return [(images.numpy(), labels.numpy()) for images, labels in stream.take(n)]


def assert_same(batches, others):
    for (images, labels), (other_images, other_labels) in zip(batches, others, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


def epoch(data, batch_size, seed, number):
    steps = data.steps_per_epoch(batch_size)
    return take(data.train_batches(batch_size, seed, start_step=number * steps), steps)


def epoch_order(data, batch_size, seed, number):
    return list(itertools.chain.from_iterable(order(images) for images, _ in epoch(data, batch_size, seed, number)))
