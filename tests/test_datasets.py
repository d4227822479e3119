"""Tests of wage_tf.datasets: the sources, their errors, and batches as a pure function of seed and step."""

import itertools
import os
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from wage_tf import datasets
from wage_tf.datasets import Augmentation, Dataset, folder, sources, splits
from wage_tf.errors import UserError

PAD_CROP_FLIP = Augmentation(pad=4, flip=True)


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


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


class TestDigits:
    def test_split_is_fixed(self, digits):
        from sklearn.datasets import load_digits

        target = load_digits().target
        assert (digits.train_size, digits.test_size) == (1437, 360)
        assert digits.input_shape == (28, 28, 1)
        assert digits.class_names == tuple("0123456789")
        _, train_labels = digits.probe_batch(1437)
        np.testing.assert_array_equal(train_labels.argmax(1), np.delete(target, np.s_[::5]))
        test_labels = np.concatenate([labels.numpy() for _, labels in digits.test_batches(100)])
        np.testing.assert_array_equal(test_labels.argmax(1), target[::5])

    def test_pixels_span_the_range(self, digits):
        images, _ = digits.probe_batch(100)
        assert images.dtype == np.uint8
        assert images.min() == 0
        assert images.max() > 230

    def test_limit_keeps_the_first_training_images_and_the_test_set(self, digits):
        limited = datasets.load("digits", limit=50)
        assert (limited.train_size, limited.test_size, limited.num_classes) == (50, 360, 10)
        assert_same([limited.probe_batch(50)], [digits.probe_batch(50)])

    def test_limit_beyond_the_end_keeps_all(self):
        assert datasets.load("digits", limit=10**6).train_size == 1437


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


class TestFromArrays:
    images = np.zeros((4, 2, 2, 1), np.uint8)
    labels = np.array([0, 1, 0, 1])

    def test_column_of_labels(self):
        data = Dataset.from_arrays("mine", self.images, self.labels[:, None], class_names=["a", "b", "c"])
        assert (data.num_classes, data.class_names, data.test_size) == (3, ("a", "b", "c"), 0)

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"x_train": images.astype(np.float32)}, "mine: train images must be uint8 .* received float32"),
            ({"x_train": images[0]}, r"received uint8 \[2, 2, 1\]"),
            ({"x_train": images[:0], "y_train": labels[:0]}, r"received uint8 \[0, 2, 2, 1\]"),
            ({"y_train": labels[:3]}, r"one integer for each of 4 images, received int64 \[3\]"),
            ({"y_train": labels / 2}, "received float64"),
            ({"y_train": labels - 1}, "mine: train labels must be 0 to .*, received -1"),
            ({"y_train": labels * 0}, "at least two classes are needed, received 1"),
            ({"y_train": labels * 9, "class_names": ["a", "b"]}, "labels must be 0 to 1, received 9"),
            ({"x_test": images}, "give both x_test and y_test"),
            (
                {"x_test": images[:, :1], "y_test": labels},
                r"test images have shape \(1, 2, 1\), training images \(2, 2, 1\)",
            ),
            ({"x_test": images, "y_test": labels + 1, "class_names": "ab"}, "test labels must be 0 to 1, received 2"),
        ],
    )
    def test_errors(self, arrays, message):
        with pytest.raises(UserError, match=message):
            Dataset.from_arrays("mine", **{"x_train": self.images, "y_train": self.labels, **arrays})


class TestLoadErrors:
    def test_unknown_name(self):
        with pytest.raises(UserError, match=r"unknown data set 'mnits': choose one of digits, mnist, .*folder's path"):
            datasets.load("mnits")

    @pytest.mark.parametrize("argument", ["limit", "image_size"])
    def test_less_than_one(self, argument):
        with pytest.raises(UserError, match=f"{argument} must be at least 1, received 0"):
            datasets.load("digits", **{argument: 0})

    def test_image_size_of_a_fixed_size_data_set(self):
        with pytest.raises(UserError, match="image_size is for image folders and imagenet2012, not for digits"):
            datasets.load("digits", image_size=32)

    def test_names(self):
        assert datasets.names() == (
            *("digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "svhn_cropped", "imagenet2012"),
        )


def save(path, value=0, size=(6, 4), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = value if mode in ("L", "P") else (value,) * len(mode)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def images(tmp_path):
    """A folder with 4 cats, 2 dogs for training and one of each to test; an image's grey level is its number."""
    for number in range(4):
        save(tmp_path / "train" / "cat" / f"{number}.png", number)
    for number in (10, 11):
        save(tmp_path / "train" / "dog" / f"{number}.bmp", number)
    save(tmp_path / "test" / "cat" / "20.png", 20)
    save(tmp_path / "test" / "dog" / "21.PNG", 21)
    return tmp_path


class TestFolder:
    def test_loads(self, images):
        data = datasets.load(f"{images}/")
        assert (data.name, data.class_names) == (images.name, ("cat", "dog"))
        assert (data.input_shape, data.train_size, data.test_size) == ((4, 6, 3), 6, 2)
        pixels, labels = data.probe_batch(6)
        assert {(image[0, 0, 0], label) for image, label in zip(pixels, labels.argmax(1), strict=True)} == {
            *((0, 0), (1, 0), (2, 0), (3, 0), (10, 1), (11, 1))
        }

    def test_classes_are_mixed_evenly(self, images):
        _, labels = datasets.load(images).probe_batch(6)
        assert labels[:3].argmax(1).sum() == labels[3:].argmax(1).sum() == 1

    def test_limit(self, images):
        data = datasets.load(images, limit=3)
        assert (data.train_size, data.test_size) == (3, 2)
        assert_same([data.probe_batch(3)], [datasets.load(images).probe_batch(3)])

    def test_relative_path(self, images, monkeypatch):
        monkeypatch.chdir(images.parent)
        assert datasets.load(images.name).train_size == 6

    def test_hidden_files_and_folders_are_ignored(self, images):
        (images / "train" / ".cache").mkdir()
        (images / "train" / "cat" / ".DS_Store").write_bytes(b"x")
        assert datasets.load(images).train_size == 6

    def test_without_test_folder(self, tmp_path):
        save(tmp_path / "train" / "a" / "0.png", mode="L")
        save(tmp_path / "train" / "b" / "0.png", mode="L")
        data = datasets.load(tmp_path)
        assert (data.test_size, data.input_shape) == (0, (4, 6, 1))

    def test_image_size_resizes_the_shorter_side_and_crops_the_centre(self, tmp_path):
        stripes = np.zeros((8, 16, 3), np.uint8)
        stripes[:, :4], stripes[:, 4:12], stripes[:, 12:] = 10, 100, 200
        for name in ("a", "b"):
            (tmp_path / "train" / name).mkdir(parents=True)
            Image.fromarray(stripes).save(tmp_path / "train" / name / "0.png")
        save(tmp_path / "train" / "b" / "1.png", 100, size=(5, 20))
        data = datasets.load(tmp_path, image_size=4)
        assert data.input_shape == (4, 4, 3)
        np.testing.assert_array_equal(data.probe_batch(3)[0], 100)

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda root: (root / "train").rename(root / "training"), "has no folder 'train'"),
            (lambda root: [p.rename(root / p.name) for p in (root / "train").iterdir()], "holds 0 class folders"),
            (lambda root: (root / "train" / "dog").rename(root / "x"), "holds 1 class folders"),
            (lambda root: (root / "train" / "ant").mkdir(), "ant holds no images"),
            (lambda root: [p.unlink() for p in (root / "test").rglob("*.*")], "test.* holds no images"),
            (lambda root: (root / "train" / "cat" / "a.txt").write_text("x"), r"a\.txt is not an image file"),
            (lambda root: (root / "train" / "cat" / "sub.png").mkdir(), r"sub\.png is not an image file"),
            (lambda root: (root / "train" / "cat" / "1.png").write_bytes(b"x"), r"1\.png cannot be read as an image"),
            (lambda root: (root / "train" / "cat" / "1.png").write_bytes(b""), r"1\.png cannot be read as an image"),
            (
                lambda root: save(root / "train" / "dog" / "big.png", size=(7, 4)),
                r"big\.png is 7x4 .*give --image-size",
            ),
            (lambda root: save(root / "test" / "dog" / "big.png", size=(7, 4)), r"big\.png is 7x4 .*give --image-size"),
            (lambda root: save(root / "train" / "dog" / "grey.png", mode="L"), r"grey\.png has 1 channels, .* has 3"),
            (lambda root: save(root / "train" / "dog" / "a.png", mode="RGBA"), r"a\.png has colour mode RGBA: convert"),
            (lambda root: save(root / "train" / "dog" / "p.png", mode="P"), r"p\.png has colour mode P: convert"),
            (lambda root: save(root / "train" / "dog" / "c.jpg", mode="CMYK"), r"c\.jpg has colour mode CMYK: convert"),
            (lambda root: save(root / "test" / "emu" / "0.png"), "emu is a class without training images"),
        ],
    )
    def test_errors_name_the_culprit_in_one_line(self, images, spoil, message):
        spoil(images)
        with pytest.raises(UserError, match=message) as error:
            datasets.load(images)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("extension", ["png", "jpg"])
    def test_truncated_image(self, images, extension):
        path = images / "train" / "cat" / f"torn.{extension}"
        noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:-600])
        with pytest.raises(UserError, match=rf"torn\.{extension} cannot be read as an image .*truncated"):
            datasets.load(images, image_size=4)

    def test_missing_folder(self, tmp_path):
        with pytest.raises(UserError, match="nowhere is not a folder"):
            datasets.load(tmp_path / "nowhere")

    def test_too_much_for_memory(self, images, monkeypatch):
        monkeypatch.setattr(folder, "_physical_memory", lambda: 1000)
        with pytest.raises(UserError, match=r"8 images of 4x6x3 need .* GiB of memory"):
            datasets.load(images)


@pytest.fixture(scope="module")
def tfds_dir():
    path = os.environ.get("TFDS_DATA_DIR")
    if not path or not (Path(path) / "mnist").is_dir():
        pytest.skip("TFDS_DATA_DIR does not name a directory with a prepared mnist")
    return path


class TestMnist:
    @pytest.fixture(scope="class")
    def mnist(self, tfds_dir):
        return datasets.load("mnist", data_dir=tfds_dir)

    def test_the_real_data(self, mnist):
        assert (mnist.name, mnist.input_shape, mnist.train_size, mnist.test_size) == (
            "mnist",
            (28, 28, 1),
            60000,
            10000,
        )
        assert mnist.class_names == tuple("0123456789")

    def test_same_as_tfds(self, mnist, tfds_dir):
        import tensorflow_datasets as tfds

        expected = tfds.load("mnist", data_dir=tfds_dir, split="test[:300]", as_supervised=True, batch_size=-1)
        images, labels = next(iter(mnist.test_batches(300)))
        np.testing.assert_array_equal(images, expected[0])
        np.testing.assert_array_equal(labels.numpy().argmax(1), expected[1])

    def test_limit(self, mnist, tfds_dir):
        limited = datasets.load("mnist", data_dir=tfds_dir, limit=700)
        assert limited.train_size == 700
        assert_same([limited.probe_batch(700)], [mnist.probe_batch(700)])


def prepare_small(name, data_dir, examples, splits_sizes):
    """Writes a small stand-in of a TFDS data set by its own builder, several files a split."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=data_dir)
    generators = {split: examples(size) for split, size in splits_sizes.items()}
    with mock.patch.object(type(builder), "_split_generators", return_value=generators):
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    return data_dir


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

    def test_damaged_file(self, small_svhn, tmp_path):
        import shutil

        shutil.copytree(small_svhn, tmp_path / "copy")
        file = next((tmp_path / "copy").rglob("*train.tfrecord*"))
        file.write_bytes(file.read_bytes()[:-5])
        with pytest.raises(UserError, match=r"svhn_cropped.* is damaged .*: delete it and prepare it again"):
            datasets.load("svhn_cropped", data_dir=tmp_path / "copy")

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
