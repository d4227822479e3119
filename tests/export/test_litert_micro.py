"""The LiteRT model for microcontrollers: exact in LiteRT Micro, and in LiteRT whatever its kernels round."""

import json

import keras
import numpy as np
import pytest

from support.images import random_images
from support.networks import frozen
from wage_tf import integer, layers
from wage_tf.errors import UserError
from wage_tf.export import Card, litert, litert_micro, write_litert, write_litert_micro
from wage_tf.export.litert import read_card
from wage_tf.export.litert_micro import read_table
from wage_tf.export.stages import fused, stages
from wage_tf.integer.nodes import Rescale

interpreters = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
pytest.importorskip("tflite_micro", reason="needs tflite-micro")
runtimes = pytest.importorskip("benchmarks.runtimes")
CARD = Card("net", "2-8-8-8", "x/256", ("null", "één"))


def content_of(graph):
    return litert_micro.to_bytes(fused(stages(graph)), CARD)


def table_of(graph):
    return next(node.codes for node in graph.nodes if isinstance(node, Rescale))


def assert_exact_in_every_runtime(graph, images):
    content, expected = content_of(graph), integer.infer(graph, images).reshape(len(images), -1)
    for runtime in runtimes.RUNTIMES:
        found = runtimes.scores(runtime, content, table_of(graph)[images])
        assert np.array_equal(found, expected), runtime


def test_sums_of_more_than_16_bits_are_made_in_windows():
    """Sums of the last layer from −2^20 to 2^20, hidden ones that are clipped at 127.5·2^10; all of them met."""
    image = keras.Input((8, 8, 1), dtype="uint8")
    x = layers.QRescaling(1 / 128, -1.0)(image)
    conv = layers.QConv2D(8, 8, padding="same", bits="8-8-8-8", alpha=8.0)
    dense = layers.QDense(4, bits="8-8-8-8", alpha=1.0)
    hidden = layers.QActivation()(conv(x))
    both = keras.layers.Concatenate()([keras.layers.Flatten()(hidden), keras.layers.Flatten()(x)])
    model = keras.Model(image, dense(both))
    random = np.random.default_rng(0)
    for layer in (conv, dense):
        signs = np.sign(random.standard_normal(layer.kernel.shape))
        layer.kernel.assign(0.9 * np.where(np.arange(layer.kernel.shape[-1]) % 4 < 2, np.abs(signs), signs))
    dense.kernel.assign(dense.kernel * np.where(np.arange(576) < 512, 0.1, 1.0)[:, None])
    graph = integer.freeze(model)
    grey = np.broadcast_to(np.arange(0, 256, 5, np.uint8)[:, None, None, None], (52, 8, 8, 1))
    images = np.concatenate([grey, random_images((8, 8, 1), 20)])
    sums = integer.infer(graph, images)
    assert sums.max() > 2**19
    assert sums.min() < -(2**19)
    assert_exact_in_every_runtime(graph, images)


def test_other_kernels_round_otherwise_where_litert_leaves_it_to_them():
    """Why this form exists: of the other one XNNPACK alone is exact, and LiteRT Micro does not run it."""
    graph = frozen("lenet5", "2-8-8-8", (16, 16, 1), 0.25)
    images = random_images((16, 16, 1), 20)
    content, expected = litert.to_bytes(stages(graph), CARD), integer.infer(graph, images)
    equal = {}
    for runtime in runtimes.RESOLVERS:
        equal[runtime] = runtimes.compared(runtimes.scores(runtime, content, images), expected)["equal"]
    assert equal["XNNPACK"] == 20
    assert max(equal["built-in kernels"], equal["reference kernels"]) < 20
    with pytest.raises(RuntimeError):
        runtimes.scores(runtimes.MICRO, content, images)


@pytest.mark.parametrize(("write", "taken"), [(write_litert, "image"), (write_litert_micro, "codes")])
def test_the_signature_names_input_and_output(tmp_path, write, taken):
    graph = frozen("mlp", "2-8-8-8", (3, 3, 1), 0.01)
    write(tmp_path / "net.tflite", graph, CARD)
    interpreter = interpreters.Interpreter(model_path=str(tmp_path / "net.tflite"))
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": [taken], "outputs": ["scores"]}}
    (image,) = random_images((3, 3, 1), 1)
    inputs = image[None] if taken == "image" else table_of(graph)[image[None]]
    found = interpreter.get_signature_runner()(**{taken: inputs})["scores"]
    assert np.array_equal(found, integer.infer(graph, image[None]))


def test_the_file_says_what_it_is_and_which_codes_it_takes(tmp_path):
    graph = frozen("mlp", "2-8-8-8", (3, 3, 1), 0.01)
    size = write_litert_micro(tmp_path / "net.tflite", graph, CARD)
    assert (tmp_path / "net.tflite").stat().st_size == size
    assert read_card(tmp_path / "net.tflite") == CARD
    table = read_table(tmp_path / "net.tflite")
    assert table.dtype == np.int8
    assert np.array_equal(table, table_of(graph))


def test_a_file_without_a_table_or_with_another_is_refused(tmp_path):
    graph = frozen("mlp", "2-8-8-8", (3, 3, 1), 0.01)
    write_litert(tmp_path / "net.tflite", graph, CARD)
    with pytest.raises(UserError, match=r"net.tflite: the LiteRT model has no metadata 'wage_tf_table'"):
        read_table(tmp_path / "net.tflite")
    write_litert_micro(tmp_path / "net.tflite", graph, CARD)
    content = (tmp_path / "net.tflite").read_bytes()
    text = json.dumps(table_of(graph).tolist()).encode()
    (tmp_path / "net.tflite").write_bytes(content.replace(text, text.replace(b"127]", b"999]")))
    with pytest.raises(UserError, match=r"net.tflite: the table has 256 codes of int8"):
        read_table(tmp_path / "net.tflite")


def padded_pixels():
    image = keras.Input((4, 4, 1), dtype="uint8")
    x = layers.QRescaling(1 / 256)(keras.layers.ZeroPadding2D(name="border")(image))
    return integer.freeze(keras.Model(image, layers.QDense(2)(keras.layers.Flatten()(x))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: frozen("resnet8", "8-8-8-8", (16, 16, 3), 0.25), "block2_conv2: its sums need 15 windows of 16 bits"),
        (padded_pixels, "border: takes pixels, but their table is the caller's"),
    ],
)
def test_what_the_kernels_cannot_do_is_refused_by_name(tmp_path, make, message):
    with pytest.raises(UserError, match=f"LiteRT Micro export: {message}"):
        write_litert_micro(tmp_path / "net.tflite", make(), CARD)
    assert not list(tmp_path.iterdir())
