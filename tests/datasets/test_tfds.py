"""Tests of wage_tf.datasets: TensorFlow Datasets, real MNIST and small stand-ins of ImageNet and SVHN."""

import dataclasses
import itertools
import shutil
import struct
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from support.batches import assert_same, epoch, take
from support.prepared import prepare_small
from wage_tf import datasets
from wage_tf.datasets import Augmentation, sources, splits
from wage_tf.errors import UserError

pytestmark = pytest.mark.slow


class TestMnist:
    @pytest.fixture(scope="class")
    def mnist(self, tfds_data_dir):
        return datasets.load("mnist", data_dir=tfds_data_dir)

    def test_the_real_data(self, mnist):
        assert (mnist.name, mnist.input_shape, mnist.train_size, mnist.test_size) == (
            "mnist",
            (28, 28, 1),
            60000,
            10000,
        )
        assert mnist.class_names == tuple("0123456789")

    def test_same_as_tfds(self, mnist, tfds_data_dir):
        import tensorflow_datasets as tfds

        expected = tfds.load("mnist", data_dir=tfds_data_dir, split="test[:300]", as_supervised=True, batch_size=-1)
        images, labels = next(iter(mnist.test_batches(300)))
        np.testing.assert_array_equal(images, expected[0])
        np.testing.assert_array_equal(labels.numpy().argmax(1), expected[1])

    def test_limit(self, mnist, tfds_data_dir):
        limited = datasets.load("mnist", data_dir=tfds_data_dir, limit=700)
        assert limited.train_size == 700
        assert_same([limited.probe_batch(700)], [mnist.probe_batch(700)])


@pytest.fixture(scope="module")
def small_imagenet(tmp_path_factory):
    def examples(n):
        for i in range(n):
            pixels = np.full((36 + i % 5, 50, 3), 5 * i, np.uint8)
            yield f"{i}", {"image": pixels, "label": 7 * i, "file_name": f"{i}.jpg"}

    return prepare_small("imagenet2012", tmp_path_factory.mktemp("tfds"), examples, {"train": 47, "validation": 9})


@pytest.fixture(scope="module")
def small_svhn(tmp_path_factory):
    def examples(n):
        for i in range(n):
            yield f"{i}", {"image": np.full((32, 32, 3), i, np.uint8), "label": i % 10, "id": f"{i}"}

    return prepare_small(
        "svhn_cropped", tmp_path_factory.mktemp("tfds"), examples, {"train": 12, "test": 11, "extra": 15}
    )


class TestStreamed:
    """A small imagenet2012 in three files; image i has grey level 5i and label 7i."""

    augmentation = Augmentation(crop=24, flip=True)

    @pytest.fixture(autouse=True)
    def small_blocks(self, monkeypatch):
        monkeypatch.setattr(splits, "BLOCK", 16)
        monkeypatch.setattr(splits, "OPEN_FILES", 2)

    @pytest.fixture
    def data(self, small_imagenet):
        return datasets.load("imagenet2012", data_dir=small_imagenet, image_size=32)

    @staticmethod
    def grey(batches):
        return [value for images, _ in batches for value in np.rint(images[:, 9, 9, 0] / 5).astype(int).tolist()]

    def test_sizes(self, data):
        assert (data.train_size, data.test_size, data.num_classes, data.input_shape) == (47, 9, 1000, (32, 32, 3))
        assert len(data.train.shards) == 3

    def test_the_digest_knows_the_files_by_name_size_and_part(self, data, small_imagenet, tmp_path):
        copy = shutil.copytree(small_imagenet, tmp_path / "copy")
        again = datasets.load("imagenet2012", data_dir=copy, image_size=32)
        assert again.digest == data.digest
        assert len({data.digest, data.split_validation(9).digest, data.split_validation(8).digest}) == 3
        file = Path(again.train.shards[0].path)
        file.write_bytes(file.read_bytes() + b"x")
        assert dataclasses.replace(again).digest != data.digest

    def test_default_image_size(self, small_imagenet):
        assert datasets.load("imagenet2012", data_dir=small_imagenet).input_shape == (256, 256, 3)

    def test_every_image_once_per_epoch_with_its_label(self, data):
        for number in range(2):
            batches = epoch(data, 10, 0, number)
            assert sorted(self.grey(batches)) == list(range(47))
            assert self.grey(batches) == [label // 7 for _, labels in batches for label in labels.argmax(1)]

    def test_order_is_a_function_of_seed_and_epoch(self, data):
        orders = {key: tuple(self.grey(epoch(data, 10, *key))) for key in itertools.product((0, 1), (0, 1))}
        assert len(set(orders.values())) == 4
        tf.random.set_seed(99)
        assert orders == {key: tuple(self.grey(epoch(data, 10, *key))) for key in orders}

    @pytest.mark.parametrize("start", [1, 4, 5, 7])
    def test_resumed_stream_is_the_tail_of_the_full_one(self, data, start):
        full = take(data.train_batches(10, 4, self.augmentation), 11)
        assert full[0][0].shape == (10, 24, 24, 3)
        assert_same(full[start:], take(data.train_batches(10, 4, self.augmentation, start_step=start), 11 - start))

    def test_skipped_images_are_not_decoded(self, data):
        decoded = []

        def counted(serialized):
            tf.py_function(lambda: decoded.append(1), [], [])
            return data.train.decode(serialized)

        part = splits.RecordSplit(data.train.shards, data.train.shape, counted)
        list(part.shuffled(10, tf.constant([0, 1], tf.int64), tf.constant(4, tf.int64)))
        assert len(decoded) == 7

    def test_test_batches_and_probe(self, data):
        batches = take(data.test_batches(4, self.augmentation), 9)
        assert [images.shape for images, _ in batches] == [(4, 24, 24, 3), (4, 24, 24, 3), (1, 24, 24, 3)]
        assert sorted(self.grey(batches)) == list(range(9))
        images, labels = data.probe_batch(5, self.augmentation)
        assert (images.shape, labels.shape) == ((5, 24, 24, 3), (5, 1000))

    def test_limit_and_validation_are_parts_of_the_stored_order(self, data, small_imagenet):
        stored = self.grey([data.probe_batch(47)])
        limited = datasets.load("imagenet2012", data_dir=small_imagenet, image_size=32, limit=30)
        assert (limited.train_size, self.grey([limited.probe_batch(30)])) == (30, stored[:30])
        part = limited.split_validation(9)
        assert (part.train_size, self.grey(take(part.test_batches(4), 3))) == (21, stored[21:30])
        assert sorted(self.grey(epoch(part, 6, 0, 0))) == sorted(stored[:21])


class TestPrepared:
    def test_svhn_trains_on_train_and_extra(self, small_svhn):
        data = datasets.load("svhn_cropped", data_dir=small_svhn)
        assert (data.train_size, data.test_size, data.input_shape) == (27, 11, (32, 32, 3))
        images, labels = data.probe_batch(27)
        assert sorted(images[:12, 0, 0, 0]) == list(range(12))
        assert sorted(images[12:, 0, 0, 0]) == list(range(15))
        np.testing.assert_array_equal(labels.argmax(1), images[:, 0, 0, 0] % 10)
        assert datasets.load("svhn_cropped", data_dir=small_svhn, limit=14).train_size == 14

    def test_no_thread_tunes_the_reading_whose_end_would_wait_for_it(self, small_svhn, monkeypatch):
        tuned, read = [], tf.data.Dataset.as_numpy_iterator

        def record(data):
            tuned.append(data.options().autotune.enabled)
            return read(data)

        monkeypatch.setattr(tf.data.Dataset, "as_numpy_iterator", record)
        datasets.load("svhn_cropped", data_dir=small_svhn)
        assert set(tuned) == {False}

    def test_damaged_file(self, small_svhn, tmp_path):
        shutil.copytree(small_svhn, tmp_path / "copy")
        file = next((tmp_path / "copy").rglob("*train.tfrecord*"))
        file.write_bytes(file.read_bytes()[:-5])
        with pytest.raises(UserError, match=r"svhn_cropped.* is damaged .*: delete it and prepare it again"):
            datasets.load("svhn_cropped", data_dir=tmp_path / "copy")

    @pytest.mark.parametrize(("name", "source"), [("svhn_cropped", "small_svhn"), ("imagenet2012", "small_imagenet")])
    def test_a_file_cut_between_two_records(self, name, source, tmp_path, request):
        shutil.copytree(request.getfixturevalue(source), tmp_path / "copy")
        file = max((tmp_path / "copy").rglob("*train.tfrecord*"))
        content = file.read_bytes()
        (length,) = struct.unpack_from("<Q", content)
        file.write_bytes(content[: 8 + 4 + length + 4])
        assert sum(1 for _ in tf.data.TFRecordDataset(str(file))) == 1
        with pytest.raises(UserError, match=rf"{name}.* is damaged .split 'train' has \d+ bytes, \d+ by dataset_info"):
            datasets.load(name, data_dir=tmp_path / "copy")

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda text: text[: len(text) // 2],
            lambda text: "",
            lambda text: "\xe0\x80",
            lambda text: "[" * 100_000,
            lambda text: "3",
            lambda text: "[]",
            lambda text: text.replace('"splits": [', '"splits": 3, "x": ['),
            lambda text: text.replace('"shardLengths": [', '"shardLengths": ["-5", '),
            lambda text: text.replace('"shardLengths": [', '"shardLengths": ["many", '),
            lambda text: text.replace('"shardLengths": [', '"shardLengths": ["9999999999999", '),
            lambda text: text.replace('"numBytes": "', '"numBytes": "1'),
            lambda text: text.replace('"version": "', '"version": "9'),
            lambda text: text.replace("{SHARD_X_OF_Y}", "{NOWHERE}"),
            lambda text: text.replace('"fileFormat": "tfrecord"', '"fileFormat": "csv"'),
        ],
    )
    def test_a_damaged_description(self, small_svhn, tmp_path, spoil):
        shutil.copytree(small_svhn, tmp_path / "copy")
        file = next((tmp_path / "copy").rglob("dataset_info.json"))
        text = file.read_text()
        file.write_bytes(spoil(text).encode("latin-1"))
        assert file.read_text(errors="replace") != text
        with pytest.raises(UserError, match=r"svhn_cropped.* is damaged .*prepare it again") as error:
            datasets.load("svhn_cropped", data_dir=tmp_path / "copy")
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("place", ["gs://bucket/data", "s3://bucket", "https://example.org/x", "file:///tmp"])
    def test_a_place_on_another_machine_is_refused_before_anything_is_asked(self, place, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
        with pytest.raises(UserError, match=f"data_dir {place} is on another machine"):
            datasets.load("mnist", data_dir=place)
        monkeypatch.setenv("TFDS_DATA_DIR", place)
        with pytest.raises(UserError, match=f"data_dir {place} is on another machine"):
            datasets.load("mnist")

    @pytest.mark.parametrize("name", ["cifar100", "imagenet2012"])
    def test_missing_data_without_network_leaves_nothing_behind(self, name, tmp_path, monkeypatch):
        def unreachable(*args, **kwargs):
            raise OSError("no network")

        monkeypatch.setattr(sources, "urlopen", unreachable)
        for data_dir in (tmp_path, tmp_path / "new"):
            with pytest.raises(UserError, match=f"{name} is not in .*data_dir or TFDS_DATA_DIR") as error:
                datasets.load(name, data_dir=data_dir)
            assert "\n" not in str(error.value)
        assert list(tmp_path.iterdir()) == []

    def test_failure_during_preparation_leaves_nothing_behind(self, tmp_path, monkeypatch):
        import tensorflow_datasets as tfds

        def broken(self, manager):
            raise ConnectionError("the line went\ndead")

        monkeypatch.setattr(sources, "urlopen", mock.MagicMock())
        monkeypatch.setattr(type(tfds.builder("cifar10", data_dir=tmp_path)), "_split_generators", broken)
        with pytest.raises(UserError, match=r"cifar10 .* could not be prepared there \(the line went dead"):
            datasets.load("cifar10", data_dir=tmp_path)
        assert list(tmp_path.iterdir()) == []
