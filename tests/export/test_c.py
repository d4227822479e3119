"""Generated C against the integer engine, code for code, under strict warnings and sanitizers."""

import os
import shutil
import subprocess

import keras
import numpy as np
import pytest

from support.images import random_images, real_images
from support.networks import frozen
from wage_tf import integer, layers
from wage_tf.errors import UserError
from wage_tf.export import Card, write_c
from wage_tf.export.c_layout import Layout

GCC, MAKE = shutil.which("gcc"), shutil.which("make")
pytestmark = pytest.mark.skipif(GCC is None or MAKE is None, reason="needs gcc and make")
CARD = Card("a */ net", "2-8-8-8", "x/256 ??/", ())


def compiled(folder, target):
    subprocess.run([MAKE, "-s", "-C", str(folder), target], check=True, env={"PATH": os.environ["PATH"], "CC": GCC})


def scores_of(folder, target, images, outputs=10):
    compiled(folder, target)
    run = subprocess.run([folder / target], input=images.tobytes(), capture_output=True, check=True)
    assert run.stderr == b""
    return np.array([line.split()[-outputs:] for line in run.stdout.decode().splitlines()], np.int64)


def test_inputs_that_are_no_image(tmp_path):
    graph = frozen("autoencoder", shape=(40,))
    write_c(tmp_path, graph, CARD)
    assert "#define WAGE_PIXELS 40" in (tmp_path / "wage_net.h").read_text()
    inputs = random_images((40,), 8)
    assert (scores_of(tmp_path, "sanitized", inputs, 40) == integer.infer(graph, inputs)).all()


def test_a_network_without_a_hidden_layer(tmp_path):
    image = keras.Input((8, 8, 1), dtype="uint8")
    scores = layers.QDense(10)(keras.layers.Flatten()(layers.QRescaling(1 / 128, -1.0)(image)))
    graph = integer.freeze(keras.Model(image, layers.QError()(scores)))
    write_c(tmp_path, graph, CARD)
    images = random_images((8, 8, 1), 8)
    assert (scores_of(tmp_path, "sanitized", images) == integer.infer(graph, images)).all()


@pytest.mark.slow
def test_c_equals_the_engine_on_1000_mnist_images(tmp_path):
    """A narrow LeNet-5: the sanitized program takes all 1,000 as well."""
    graph = frozen("lenet5", shape=(28, 28, 1), width=0.25)
    write_c(tmp_path, graph, CARD)
    images = real_images("mnist", "test[:1000]")[0]
    scores = integer.infer(graph, images)
    for target in ("classify", "sanitized"):
        assert (scores_of(tmp_path, target, images) == scores).all()


def test_an_interrupted_export_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    write_c(tmp_path / "old", small(10), CARD)
    before, flushed = contents(tmp_path / "old"), []

    def full(handle):
        flushed.append(handle)
        if len(flushed) % 4 == 0:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for folder in ("old", "new"):
        with pytest.raises(OSError, match="No space left"):
            write_c(tmp_path / folder, small(7), CARD)
    assert contents(tmp_path / "old") == before
    assert not (tmp_path / "new").exists()


def test_a_folder_in_the_way_of_one_file_keeps_all_four(tmp_path):
    write_c(tmp_path, small(10), CARD)
    (tmp_path / "wage_net.h").unlink()
    (tmp_path / "wage_net.h").mkdir()
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"wage_net\.h is a folder"):
        write_c(tmp_path, small(7), CARD)
    assert contents(tmp_path) == before


def small(outputs):
    return frozen("mlp", shape=(3, 3, 1), width=0.01, classes=outputs)


def contents(folder):
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


@pytest.mark.parametrize(
    "card",
    [
        Card("a /* net", "/*/ */*", "x???/", ("/*", "*/")),
        Card("n", "p", "x" * 5000, ("L" * 5000, "é" * 5000)),
        Card("caf\udce9", "p", "x", ("\ud800" * 5000, "caf\udce9")),
    ],
    ids=["comments", "long", "surrogates"],
)
def test_hostile_metadata_compiles(tmp_path, card):
    write_c(tmp_path, small(2), card)
    compiled(tmp_path, "classify")
    run = subprocess.run([tmp_path / "classify"], input=bytes(9), capture_output=True, check=True)
    assert run.stdout.count(b"\n") == 1


def test_an_image_that_is_not_whole(tmp_path):
    write_c(tmp_path, small(10), CARD)
    scores_of(tmp_path, "classify", random_images((3, 3, 1), 1))
    run = subprocess.run([tmp_path / "classify"], input=b"1234", capture_output=True, check=False)
    assert run.returncode == 1
    assert b"not whole" in run.stderr


def test_labels_are_literals_that_keep_the_bytes_of_a_folders_name(tmp_path):
    """Names that are not UTF-8 come from the disk with surrogates; any other surrogate is written out."""
    labels = ('a"; int x = "', "é", "caf\udce9", "\ud800")
    write_c(tmp_path, small(4), Card("mlp", "2-8-8-8", "x/256", labels))
    source = (tmp_path / "wage_net.c").read_text()
    for literal in (r'"a\042\073 int x \075 \042"', r'"\303\251"', r'"caf\351"', r'"\134ud800"'):
        assert literal in source


def chain(*middle):
    start = [keras.Input((8, 8, 1), dtype="uint8"), layers.QRescaling(1 / 256, bits="16-16-8-8")]
    return integer.freeze(keras.Sequential([*start, *middle]))


def test_what_c_cannot_do_is_named(tmp_path):
    wide = [layers.QConv2D(2, 8, bits="16-16-8-8", name="odd"), layers.QActivation("16-16-8-8")]
    for graph, message in (
        (chain(*wide), "the sums of odd can pass 32 bits"),
        (chain(keras.layers.MaxPooling2D()), "the network has no layer with a kernel"),
        (chain(), "the network has no layer with a kernel"),
    ):
        with pytest.raises(UserError, match=message):
            write_c(tmp_path / "net", graph, CARD)
    assert not (tmp_path / "net").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        write_c(tmp_path / "file", chain(layers.QConv2D(1, 8), layers.QActivation()), CARD)


@pytest.mark.parametrize(("name", "shape", "width"), [("lenet5", (28, 28, 1), 1.0), ("vgg7", (32, 32, 3), 0.25)])
def test_buffers_hold_no_more_than_what_is_needed_at_once(name, shape, width):
    """Pooling within the convolution leaves a layer's input and its pooled output; ternary weights are used packed."""
    graph = frozen(name, shape=shape, width=width)
    pooled = {"lenet5": 12 * 12 * 32 + 4 * 4 * 64, "vgg7": 32 * 32 * 32 + 16 * 16 * 32}[name]
    assert Layout.of(graph).buffer_bytes == pooled
