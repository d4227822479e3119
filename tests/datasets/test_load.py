"""Tests of wage_tf.datasets: the embedded digits, one's own arrays and folders of images, and their errors."""

import os
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.batches import assert_same
from wage_tf import datasets
from wage_tf.datasets import Dataset, folder
from wage_tf.errors import UserError
from wage_tf.runs.config import Data


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
    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("mnits", {}, r"unknown data set 'mnits': choose one of digits, mnist, .*folder's path"),
            ("digits", {"limit": 0}, "limit must be at least 1, received 0"),
            ("digits", {"image_size": 0}, "image_size must be 1 to 8192, received 0"),
            ("digits", {"image_size": 32}, "image_size is for image folders and imagenet2012, not for digits"),
            ("no/such/nowhere", {}, "nowhere is not a folder"),
        ],
    )
    def test_what_cannot_be_loaded_is_named(self, name, options, message):
        with pytest.raises(UserError, match=message):
            datasets.load(name, **options)

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


def wide_png(colour_type, channels):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 6, 4, 16, colour_type, 0, 0, 0)
    rows = (b"\0" + b"\x01\xff" * (6 * channels)) * 4
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def wide_tiff(channels):
    pixels, place = b"\x01\xff" * (6 * 4 * channels), 200
    photometric, bits = (2, 190) if channels == 3 else (1, 16)
    entries = [(256, 1, 6), (257, 1, 4), (258, channels, bits), (259, 1, 1), (262, 1, photometric), (273, 1, place)]
    entries += [(277, 1, channels), (278, 1, 4), (279, 1, len(pixels))]
    directory = b"".join(struct.pack("<HHII", tag, 3, count, value) for tag, count, value in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)
    return head.ljust(190, b"\0") + struct.pack("<3H", 16, 16, 16) + bytes(4) + pixels


WIDE_IMAGES = {
    "grey.png": wide_png(0, 1),
    "rgb.png": wide_png(2, 3),
    "grey.tif": wide_tiff(1),
    "rgb.tif": wide_tiff(3),
    "grey.pgm": b"P5 6 4 65535\n" + b"\x01\xff" * 24,
    "rgb.ppm": b"P6 6 4 1000\n" + b"\x01\xff" * 72,
    "plain.pgm": b"P2 6 4 1000\n" + b"500 " * 24,
}


class TestDigest:
    """What tells data from other data: `RunConfig.check_data` compares it, with the classes in order and the sizes."""

    images = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4, 1)
    labels = np.array([0, 1, 0, 1, 0, 1])

    def digest(self, images=images, labels=labels, tested=2):
        cut = len(images) - tested
        data = Dataset.from_arrays("x", images[:cut], labels[:cut], images[cut:], labels[cut:])
        return data.digest

    def test_equal_data_has_an_equal_digest(self):
        assert self.digest() == self.digest(self.images.copy(), self.labels.astype(np.int32))

    def test_any_other_pixel_label_order_shape_or_part_has_another(self):
        pixel = self.images.copy()
        pixel[5, 3, 3, 0] += 1
        others = [
            self.digest(images=pixel),
            self.digest(labels=1 - self.labels),
            self.digest(self.images[::-1], self.labels[::-1]),
            self.digest(self.images[[2, 1, 0, 3, 4, 5]]),
            self.digest(self.images.reshape(6, 2, 8, 1)),
            self.digest(tested=3),
            self.digest(self.images[1:], self.labels[1:]),
        ]
        assert len({self.digest(), *others}) == 1 + len(others)

    def test_a_class_renamed_so_that_labels_swap_and_one_that_only_has_another_name(self, images):
        before = Data.of(datasets.load(images))
        (images / "train" / "cat").rename(images / "train" / "eel")
        (images / "test" / "cat").rename(images / "test" / "eel")
        after = Data.of(datasets.load(images))
        assert after.digest != before.digest
        assert after.difference_from(before) == "classes dog, eel (2), not cat, dog (2)"


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
            (lambda root: save(root / "train" / "b.PNG"), r"train/b\.PNG is in no class's folder: move it"),
            (lambda root: save(root / "test" / "b.jpg"), r"test/b\.jpg is in no class's folder"),
            (lambda root: (root / "train" / "b.gif").symlink_to("gone"), r"b\.gif is in no class's folder"),
            (
                lambda root: (root / "train" / "dog").rename(root / "train" / os.fsdecode(b"caf\xe9")),
                r"train/caf\\udce9' is not named in UTF-8: rename it",
            ),
            (lambda root: [p.unlink() for p in (root / "test").rglob("*.*")], "test.* holds no images"),
            (lambda root: (root / "train" / "cat" / "a.txt").write_text("x"), r"a\.txt is not an image file"),
            (lambda root: (root / "train" / "cat" / "sub.png").mkdir(), r"sub\.png is not an image file"),
            (lambda root: (root / "train" / "cat" / "1.png").write_bytes(b"x"), r"1\.png cannot be read as an image"),
            (lambda root: (root / "train" / "cat" / "1.png").write_bytes(b""), r"1\.png cannot be read as an image"),
            (
                lambda root: save(root / "train" / "dog" / "big.png", size=(7, 4)),
                r"big\.png is 7x4 .*give image_size",
            ),
            (lambda root: save(root / "test" / "dog" / "big.png", size=(7, 4)), r"big\.png is 7x4 .*give image_size"),
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
        assert str(error.value).isprintable()

    @pytest.mark.parametrize("program", ["%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\nshowpage\n", "/* XPM */"])
    def test_other_formats_under_an_images_name_are_not_opened(self, images, program, monkeypatch):
        """Pillow starts Ghostscript for EPS."""
        monkeypatch.setattr(subprocess, "check_call", lambda *args, **kwargs: pytest.fail(f"started {args}"))
        (images / "train" / "cat" / "a.png").write_text(program)
        with pytest.raises(UserError, match=r"a\.png cannot be read as an image"):
            datasets.load(images, image_size=4)

    @pytest.mark.parametrize("name", ["grey.png", "rgb.png", "grey.tif", "rgb.tif", "grey.pgm", "rgb.ppm", "plain.pgm"])
    def test_images_of_16_bits_are_refused_and_not_cut_to_8(self, name, images):
        path = images / "train" / "cat" / name
        path.write_bytes(WIDE_IMAGES[name])
        with pytest.raises(UserError, match=rf"{name} has more than 8 bits a channel: convert it to 8 bits"):
            datasets.load(images)

    @pytest.mark.parametrize("extension", ["bmp", "gif", "jpg", "pgm", "png", "tif", "webp"])
    def test_the_documented_formats_are_read(self, extension, tmp_path):
        for name, degrees in (("a", 0), ("b", 180)):
            (tmp_path / "train" / name).mkdir(parents=True)
            Image.linear_gradient("L").rotate(degrees).save(tmp_path / "train" / name / f"0.{extension}", lossless=True)
        pixels, _ = datasets.load(tmp_path).probe_batch(2)
        np.testing.assert_allclose(pixels[0, :, 9, 0], np.arange(256), atol=2)
        np.testing.assert_array_equal(pixels[1], pixels[0][::-1, ::-1])

    @pytest.mark.parametrize("size", [8193, 2**31 - 1, 2**70])
    def test_an_absurd_size_is_refused_at_once(self, images, size):
        with pytest.raises(UserError, match=f"image_size must be 1 to 8192, received {size}"):
            datasets.load(images, image_size=size)

    def test_sizes_do_not_overflow_in_the_memory_that_is_needed(self):
        with pytest.raises(UserError, match=r"100 images of 2147483647x2147483647x3 need .* GiB"):
            folder._check_memory(Path("x"), 100, (2**31 - 1, 2**31 - 1, 3))

    @pytest.mark.parametrize("extension", ["jpg", "png", "tif"])
    def test_a_cameras_orientation_is_applied(self, extension, tmp_path):
        upright = np.zeros((8, 16, 3), np.uint8)
        upright[:, :8] = 200
        for name in ("a", "b"):
            (tmp_path / "train" / name).mkdir(parents=True)
            Image.fromarray(upright).save(tmp_path / "train" / name / f"0.{extension}")
        turned = Image.fromarray(np.rot90(upright))
        exif = turned.getexif()
        exif[0x0112] = 6
        turned.save(tmp_path / "train" / "b" / f"1.{extension}", exif=exif)
        data = datasets.load(tmp_path)
        assert data.input_shape == (8, 16, 3)
        np.testing.assert_allclose(data.probe_batch(3)[0], np.stack([upright] * 3), atol=3)

    @pytest.mark.parametrize("extension", ["png", "jpg"])
    def test_truncated_image(self, images, extension):
        path = images / "train" / "cat" / f"torn.{extension}"
        noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:-600])
        with pytest.raises(UserError, match=rf"torn\.{extension} cannot be read as an image .*truncated"):
            datasets.load(images, image_size=4)

    def test_too_much_for_memory(self, images, monkeypatch):
        monkeypatch.setattr(folder.machine, "memory", lambda: 1000)
        with pytest.raises(UserError, match=r"8 images of 4x6x3 need .* GiB of memory"):
            datasets.load(images)
