"""Tests of wage_tf.datasets: batches and augmentation as pure functions of seed and step."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from support.batches import assert_same, epoch_order, numbered, order, take
from wage_tf.datasets import Augmentation, Dataset
from wage_tf.errors import UserError

PAD_CROP_FLIP = Augmentation(pad=4, flip=True)


class TestOrder:
    @pytest.mark.parametrize("batch_size", [1, 7, 10, 23, 100])
    def test_every_image_once_per_epoch(self, batch_size):
        data = numbered(23)
        for number in range(2):
            assert sorted(epoch_order(data, batch_size, 0, number)) == list(range(23))

    def test_every_image_once_in_a_large_set(self):
        data = numbered(3000, size=(1, 2))
        assert sorted(epoch_order(data, 128, 5, 3)) == list(range(3000))

    def test_last_batch_holds_the_remainder(self):
        data = numbered(23)
        assert data.steps_per_epoch(10) == 3
        assert [len(labels) for _, labels in take(data.train_batches(10, 0), 6)] == [10, 10, 3, 10, 10, 3]

    @pytest.mark.slow
    def test_order_is_a_function_of_seed_and_epoch(self):
        data = numbered(40)
        orders = {(seed, number): tuple(epoch_order(data, 8, seed, number)) for seed in (0, 1) for number in (0, 1, 2)}
        assert len(set(orders.values())) == 6
        assert orders == {key: tuple(epoch_order(data, 8, *key)) for key in orders}
        assert orders[0, 2] == tuple(epoch_order(data, 20, 0, 2))

    def test_global_seeds_do_not_matter(self):
        data = numbered(20)
        tf.random.set_seed(1)
        first = take(data.train_batches(6, 3, PAD_CROP_FLIP), 5)
        tf.random.set_seed(2)
        assert_same(first, take(data.train_batches(6, 3, PAD_CROP_FLIP), 5))

    def test_epochs_are_unrelated(self):
        data = numbered(3000, size=(1, 2))
        orders = np.array([epoch_order(data, 500, 0, number) for number in range(4)])
        correlation = np.corrcoef(orders) - np.eye(4)
        assert np.abs(correlation).max() < 0.1
        assert abs(np.corrcoef(orders[0, 1:], orders[0, :-1])[0, 1]) < 0.1

    @pytest.mark.slow
    @pytest.mark.parametrize("start", [0, 1, 2, 3, 7, 9])
    def test_resumed_stream_is_the_tail_of_the_full_one(self, start):
        data = numbered(23)
        full = take(data.train_batches(10, 4, PAD_CROP_FLIP), 12)
        assert_same(full[start:], take(data.train_batches(10, 4, PAD_CROP_FLIP, start_step=start), 12 - start))

    def test_batches_are_typed_and_endless(self):
        images, labels = numbered(23).train_batches(10, 0).element_spec
        assert (images.dtype, images.shape.as_list()) == (tf.uint8, [None, 5, 5, 3])
        assert (labels.dtype, labels.shape.as_list()) == (tf.float32, [None, 3])
        assert numbered(23).train_batches(10, 0).cardinality() == tf.data.INFINITE_CARDINALITY

    def test_labels_stay_with_their_images(self):
        for images, labels in take(numbered(23).train_batches(10, 0), 3):
            np.testing.assert_array_equal(labels.argmax(1), np.array(order(images)) % 3)
            np.testing.assert_array_equal(labels.sum(1), 1)

    def test_test_batches_are_finite_and_ordered(self):
        batches = list(numbered(5, test=7).test_batches(3))
        assert [order(images.numpy()) for images, _ in batches] == [[5, 6, 7], [8, 9, 10], [11]]

    @pytest.mark.parametrize("seed", [-1, 2**40])
    def test_any_64_bit_seed(self, seed):
        assert sorted(epoch_order(numbered(9), 4, seed, 0)) == list(range(9))

    def test_no_thread_tunes_an_iterator_whose_end_would_wait_for_it(self):
        data = numbered(5, test=7)
        for batches in (data.train_batches(3, 0), data.test_batches(3)):
            assert batches.options().autotune.enabled is False

    def test_nonsense_is_refused(self):
        data = numbered(5)
        with pytest.raises(ValueError, match="batch_size must be at least 1, received 0"):
            data.train_batches(0, 0)
        with pytest.raises(ValueError, match="start_step must not be negative, received -1"):
            data.train_batches(1, 0, start_step=-1)
        with pytest.raises(ValueError, match="crop 9 exceeds"):
            data.train_batches(1, 0, Augmentation(crop=9))
        with pytest.raises(UserError, match="has no test images"):
            data.test_batches(1)
        with pytest.raises(ValueError, match="batch_size"):
            numbered(5, test=2).test_batches(0)


def crops(image, pad, size, flip):
    """Every image that the augmentation may give, by NumPy."""
    padded = np.pad(image, [(pad, pad), (pad, pad), (0, 0)])
    offsets = itertools.product(range(padded.shape[0] - size[0] + 1), range(padded.shape[1] - size[1] + 1))
    for y, x in offsets:
        crop = padded[y : y + size[0], x : x + size[1]]
        yield crop.tobytes(), (y, x, False)
        if flip:
            yield crop[:, ::-1].tobytes(), (y, x, True)


class TestAugmentation:
    @pytest.mark.parametrize(
        ("augmentation", "shape"),
        [
            (Augmentation(pad=4), (6, 9, 3)),
            (PAD_CROP_FLIP, (8, 8, 1)),
            (Augmentation(crop=6), (8, 9, 3)),
            (Augmentation(pad=1, crop=9, flip=True), (8, 8, 3)),
            (Augmentation(flip=True), (5, 5, 1)),
        ],
    )
    def test_outputs_are_true_crops(self, augmentation, shape):
        image = np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)
        height, width, _ = augmentation.output_shape(shape)
        possible = dict(crops(image, augmentation.pad, (height, width), augmentation.flip))
        images = augmentation.random(tf.constant(np.repeat(image[None], 4000, 0)), tf.constant([1, 2])).numpy()
        seen = [possible[output.tobytes()] for output in images]
        assert set(seen) == set(possible.values())
        flips = np.mean([flipped for _, _, flipped in seen])
        assert (0.46 < flips < 0.54) if augmentation.flip else flips == 0

    def test_offsets_are_uniform(self):
        image = np.arange(25, dtype=np.uint8).reshape(1, 5, 5, 1) + 1
        images = Augmentation(pad=2).random(tf.constant(np.repeat(image, 25000, 0)), tf.constant([0, 0])).numpy()
        _, counts = np.unique(images.reshape(len(images), -1), axis=0, return_counts=True)
        assert len(counts) == 25
        assert ((counts - 1000) ** 2 / 1000).sum() < 60

    def test_in_the_stream_each_image_is_a_crop_of_its_own_original(self):
        rng = np.random.default_rng(0)
        originals = rng.integers(1, 256, (12, 6, 6, 3), dtype=np.uint8)
        data = Dataset.from_arrays("random", originals, np.arange(12))
        for images, labels in take(data.train_batches(5, 0, PAD_CROP_FLIP), 3):
            for image, label in zip(images, labels.argmax(1), strict=True):
                assert image.tobytes() in dict(crops(originals[label], 4, (6, 6), True))

    def test_steps_and_seeds_augment_differently(self):
        image = np.random.default_rng(0).integers(1, 256, (1, 8, 8, 1), dtype=np.uint8)
        data = Dataset.from_arrays("one", np.repeat(image, 2, 0), np.array([0, 1]))
        batches = [
            images.tobytes() for seed in (0, 1) for images, _ in take(data.train_batches(2, seed, PAD_CROP_FLIP), 9)
        ]
        assert len(set(batches)) > 15

    @pytest.mark.parametrize("augmentation", [None, PAD_CROP_FLIP, Augmentation(crop=3), Augmentation(pad=2, crop=7)])
    def test_central_crop(self, augmentation):
        data = numbered(4, test=4)
        images, _ = next(iter(data.test_batches(4, augmentation)))
        expected = np.stack([image.numpy() for image, _ in data.test.in_order(4).unbatch()])
        if augmentation == Augmentation(crop=3):
            expected = expected[:, 1:4, 1:4]
        if augmentation == Augmentation(pad=2, crop=7):
            expected = np.pad(expected, [(0, 0), (2, 2), (2, 2), (0, 0)])[:, 1:8, 1:8]
        np.testing.assert_array_equal(images, expected)

    def test_probe_batch_is_the_first_images_cropped_centrally(self):
        images, labels = numbered(10).probe_batch(4, Augmentation(crop=3, flip=True))
        assert images.shape == (4, 3, 3, 3)
        assert images.dtype == np.uint8
        assert labels.dtype == np.float32
        np.testing.assert_array_equal(labels.argmax(1), [0, 1, 2, 0])

    @pytest.mark.parametrize(("arguments", "message"), [({"pad": -1}, "received -1"), ({"crop": 0}, "received 0")])
    def test_nonsense_is_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            Augmentation(**arguments)

    def test_output_shape(self):
        assert Augmentation(pad=4).output_shape((32, 30, 3)) == (32, 30, 3)
        assert Augmentation(crop=224).output_shape((256, 256, 3)) == (224, 224, 3)
        assert Augmentation(pad=1, crop=34).output_shape((32, 32, 3)) == (34, 34, 3)
        with pytest.raises(ValueError, match="crop 35 exceeds images of 32x32 with pad 1"):
            Augmentation(pad=1, crop=35).output_shape((32, 32, 3))


class TestReconstruction:
    """Targets that are the images themselves, as they come out of the augmentation."""

    def test_targets_are_the_rescaled_images(self):
        data = numbered(9, test=3).reconstruction(1 / 128, -1.0)
        crop = Augmentation(pad=1, crop=4, flip=True)
        batches = [*take(data.train_batches(4, 0, crop), 3), *take(data.test_batches(2, crop), 2)]
        for images, targets in [*batches, data.probe_batch(5, crop)]:
            np.testing.assert_array_equal(targets, images.reshape(len(images), -1) / np.float32(128) - 1)
            assert targets.dtype == np.float32

    def test_images_and_digest_are_the_data_sets(self):
        data = numbered(9)
        again = data.reconstruction(1 / 256, 0.0)
        assert again.digest == data.digest
        for (images, _), (same, _) in zip(*(take(d.train_batches(4, 0), 3) for d in (data, again)), strict=True):
            np.testing.assert_array_equal(images, same)
        assert data.train_batches(4, 0).element_spec[1].shape == (None, 3)
        assert again.train_batches(4, 0).element_spec[1].shape == (None, 75)


class TestSplitValidation:
    def test_last_training_images_become_the_test_set(self):
        part = numbered(10, test=5).split_validation(3)
        assert (part.train_size, part.test_size) == (7, 3)
        assert order(next(iter(part.test_batches(9)))[0].numpy()) == [7, 8, 9]
        assert sorted(epoch_order(part, 4, 0, 0)) == list(range(7))

    @pytest.mark.parametrize("n", [0, -1, 10, 11])
    def test_impossible_sizes(self, n):
        with pytest.raises(UserError, match=f"give 1 to 9 for numbered, received {n}"):
            numbered(10).split_validation(n)
