"""The LiteRT model against the engine and Keras, output for output."""

import json

import keras
import numpy as np
import pytest

import models
from support.images import random_images, real_images
from support.networks import frozen
from wage_tf import integer, layers
from wage_tf.errors import UserError
from wage_tf.export import Card, write_litert
from wage_tf.export.litert import read_card

interpreters = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
CARD = Card("net", "2-8-8-8", "x/256", ("null", "één"))


def run(path, images, batch):
    interpreter = interpreters.Interpreter(model_path=str(path), num_threads=1)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], [batch, *images.shape[1:]])
    interpreter.allocate_tensors()
    outputs = []
    for i in range(0, len(images), batch):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images[i : i + batch])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.concatenate(outputs), interpreter.get_output_details()[0]["quantization"][0]


@pytest.mark.parametrize("side", [1, 8])
@pytest.mark.parametrize("hidden", [False, True])
def test_the_output_has_a_row_per_image(tmp_path, side, hidden):
    """Also where Flatten finds 1x1 images, and where the network has no hidden layer."""
    middle = [layers.QConv2D(6, side), layers.QActivation()] if hidden else []
    model = keras.Sequential(
        [
            keras.Input((side, side, 3), dtype="uint8"),
            layers.QRescaling(1 / 256),
            *middle,
            keras.layers.Flatten(),
            layers.QDense(10),
            layers.QError(),
        ]
    )
    graph = integer.freeze(model)
    write_litert(tmp_path / "net.tflite", graph, CARD)
    images = random_images((side, side, 3), 4)
    for batch in (1, 4):
        outputs, _ = run(tmp_path / "net.tflite", images, batch)
        assert outputs.shape == (4, 10)
        assert (outputs == integer.infer(graph, images)).all()


@pytest.mark.slow
def test_equals_keras_on_mnist(tmp_path):
    model = models.build("lenet5", "2-8-8-8", (28, 28, 1), 10)
    write_litert(tmp_path / "net.tflite", integer.freeze(model), CARD)
    images = real_images("mnist", "test")[0]
    outputs, scale = run(tmp_path / "net.tflite", images, 500)
    assert outputs.dtype == np.int8
    assert (outputs * scale == model.predict(images, batch_size=500, verbose=0)).all()


def test_every_pixel_value_has_its_code(tmp_path):
    image = keras.Input((1, 256, 1), dtype="uint8")
    for scale, offset in ((1 / 256, 0.0), (1 / 128, -1.0), (1 / 127.5, -1.0)):
        x = keras.layers.Flatten()(layers.QRescaling(scale, offset)(image))
        model = keras.Model(image, layers.QActivation()(layers.QDense(4, alpha=1.0)(x)))
        write_litert(tmp_path / "net.tflite", integer.freeze(model), CARD)
        images = np.arange(256, dtype=np.uint8).reshape(1, 1, 256, 1)
        outputs, step = run(tmp_path / "net.tflite", images, 1)
        assert (outputs * step == model(images).numpy()).all()


def test_metadata_that_is_not_utf_8(tmp_path):
    card = Card("net on caf\udce9", "2-8-8-8", "x/256", ("\ud800", "caf\udce9"))
    write_litert(tmp_path / "net", frozen("mlp", shape=(2, 2, 1), width=0.004), card)
    assert read_card(tmp_path / "net") == card


def test_metadata(tmp_path):
    size = write_litert(tmp_path / "net.tflite", frozen("mlp", shape=(3, 3, 1), width=0.01), CARD)
    assert (tmp_path / "net.tflite").stat().st_size == size
    assert read_card(tmp_path / "net.tflite") == CARD
    assert json.loads(json.dumps(CARD.as_dict()))["labels"] == ["null", "één"]
    (tmp_path / "other").write_bytes(bytes(100))
    with pytest.raises(UserError, match=r"other: not a LiteRT model"):
        read_card(tmp_path / "other")


def test_a_damaged_file_is_one_clear_error_or_its_card_reads(tmp_path):
    """The format has no checksum: a flip in a weight is not seen, one in the structure must not crash."""
    path = tmp_path / "net.tflite"
    write_litert(path, frozen("mlp", shape=(2, 2, 1), width=0.004), CARD)
    content = path.read_bytes()
    random = np.random.default_rng(0)
    messages = []
    for number in range(300):
        place, bit = random.integers(len(content)), random.integers(8)
        flipped = content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
        path.write_bytes(content[:place] if number % 2 else flipped)
        try:
            read_card(path)
        except UserError as error:
            messages.append(str(error))
    assert len(messages) >= 150
    assert all(message.startswith(f"{path}: ") and "\n" not in message for message in messages)
