"""Trained, verified, deployed: benchmarks/deployed_equality.py, and every network of today on the way through it."""

import json
import shutil

import keras
import numpy as np
import pytest

import train
from support.drawn_networks import every_kind
from support.images import random_images
from support.written_runs import write_run
from wage_tf import integer, layers
from wage_tf import verify as verify_model
from wage_tf.cli import export, verify
from wage_tf.export import export_model, read_packed
from wage_tf.export.litert import read_card
from wage_tf.integer.nodes import KINDS, Identity
from wage_tf.integer.readers import READERS
from wage_tf.losses import SumSquaredError
from wage_tf.optimizers import IntegerSGD
from wage_tf.runs.directory import RunDirectory

pytest.importorskip("ai_edge_litert")
pytest.importorskip("onnxruntime")
deployed_equality = pytest.importorskip("benchmarks.deployed_equality")
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None or shutil.which("make") is None, reason="needs gcc, make")


def test_scores_are_compared_exactly():
    scores = np.array([[3, -2], [5, 1], [0, 7]])
    keras_scores = (scores / 8).astype(np.float32)
    assert deployed_equality.count_equal(scores, keras_scores, 3) == 3
    assert deployed_equality.count_equal(scores[:2], keras_scores, 3) == 2
    keras_scores[1, 0] += 1 / 64
    assert deployed_equality.count_equal(scores, keras_scores, 3) == 2


def write_images(folder, side, count=1):
    """Random images of three classes, `count` of each for training and as many for testing."""
    generator = np.random.default_rng(side)
    for split in ("train", "test"):
        for name in ("one", "two", "three"):
            (folder / split / name).mkdir(parents=True)
            for place in range(count):
                pixels = generator.integers(0, 256, (side, side + 2, 3)).astype(np.uint8)
                keras.utils.save_img(folder / split / name / f"{place}.png", pixels, scale=False)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of images in a folder that are resized, of three classes; a linear network."""
    write_images(tmp_path / "data", 7)
    network = [keras.Input((6, 6, 3), dtype="uint8"), layers.QRescaling(1 / 256), keras.layers.Flatten()]
    write_run(tmp_path / "run", model=keras.Sequential([*network, layers.QDense(3), layers.QError()]))
    path = tmp_path / "run" / "config.json"
    changes = {"dataset": str(tmp_path / "data"), "image_size": 6}
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    monkeypatch.setattr("sys.argv", ["deployed_equality", str(tmp_path / "run")])


def test_another_number_of_classes(run, capsys):
    assert deployed_equality.main() == 0
    printed = capsys.readouterr().out
    for form in ("litert", "onnx", "packed", "c"):
        assert f"{form}: 3 of 3 images equal" in printed


def test_a_difference_is_an_exit_code(run, capsys, monkeypatch):
    truth = deployed_equality.litert_scores
    monkeypatch.setattr(deployed_equality, "litert_scores", lambda *arguments: truth(*arguments) + 1)
    assert deployed_equality.main() == 1
    assert "litert: 0 of 3 images equal" in capsys.readouterr().out


@pytest.mark.slow
def test_a_network_trained_with_float_gradients(tmp_path, capsys, monkeypatch):
    """Its stored weights lie on no grid; inference needs only the quantized ones."""
    arguments = ["--bits", "2-8-f-f", "--width", "0.1", "--limit", "128", "--epochs", "1", "--histogram-freq", "0"]
    assert train.main([*arguments, "--run-dir", str(tmp_path / "run")]) == 0
    monkeypatch.setattr("sys.argv", ["deployed_equality", str(tmp_path / "run")])
    assert deployed_equality.main() == 0
    printed = capsys.readouterr().out
    for form in ("litert", "onnx", "packed", "c"):
        assert f"{form}: 360 of 360 images equal" in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "width", "bits"),
    [
        ("resnet8", "0.25", "2,8,8,8"),
        ("resnet20", "0.25", "2,8,8,8"),
        ("mobilenet", "0.125", "8,8,8,8"),
        ("ds_cnn", "0.25", "8,8,8,8"),
        ("autoencoder", "0.25", "8,8,8,8"),
    ],
)
def test_a_network_from_training_to_the_device(name, width, bits, tmp_path, capsys, monkeypatch):
    write_images(tmp_path / "data", 32, count=4)
    run = str(tmp_path / "run")
    data = ["--dataset", str(tmp_path / "data"), "--image-size", "32"]
    network = ["--model", name, "--width", width, "--bits", bits, "--factor", "2"]
    length = ["--epochs", "2", "--batch-size", "4", "--histogram-freq", "0", "--run-dir", run]
    assert train.main([*data, *network, *length]) == 0
    capsys.readouterr()
    assert verify.main([run, "--steps", "2"]) == 0
    printed = capsys.readouterr().out
    assert "verdict: EQUAL: these are integers, bit for bit" in printed
    assert " 0..0 " not in printed or name == "autoencoder"  # whose errors fade; tests/test_models.py has livelier ones
    monkeypatch.setattr("sys.argv", ["deployed_equality", run])
    assert np.ptp(RunDirectory(run).load_model()(random_images((32, 32, 3), 4))) > 0
    assert deployed_equality.main() == 0
    assert export.main([run, "--to", "litert", "--out", str(tmp_path / "litert")]) == 0
    printed = capsys.readouterr().out
    for form in ("litert", "onnx", "packed", "c"):
        assert f"{form}: 12 of 12 images equal" in printed
    labels = [] if name == "autoencoder" else ["one", "three", "two"]
    assert list(read_card(tmp_path / "litert").labels) == labels


def assert_equal_in_every_form(folder, model, images):
    """LiteRT, packed and C, compiled with sanitizers, give the engine's scores, which are not all one number."""
    expected = integer.infer(integer.freeze(model), images)
    assert np.ptp(expected) > 0
    paths = {to: export_model(model, folder / to, to).path for to in ("litert", "packed", "c")}
    assert np.array_equal(deployed_equality.litert_scores(paths["litert"], images), expected)
    assert np.array_equal(integer.infer(read_packed(paths["packed"])[0], images), expected)
    assert np.array_equal(deployed_equality.c_scores(paths["c"], images, expected.shape[1]), expected)


@pytest.mark.slow
def test_every_kind_of_node(tmp_path):
    keras.utils.set_random_seed(1)
    model = every_kind()
    assert {type(node) for node in integer.freeze(model).nodes} == set(KINDS.values()) - {Identity}
    inference_only = {kind for kind in READERS if kind.__name__.startswith(("Random", "Gaussian"))}
    inference_only |= {keras.layers.Dropout, keras.layers.SpatialDropout2D, keras.layers.GlobalMaxPooling2D}
    assert {type(layer) for layer in model.layers} - {keras.layers.InputLayer} == set(READERS) - inference_only
    images = random_images((7, 7, 2), 20)
    comparison = verify_model(model, images, np.arange(20) % 4, steps=5, batch_size=4)
    assert comparison.equal, comparison
    assert comparison.steps.done == 5
    assert not {(row.layer, row.operand) for row in comparison.rows.values() if row.low == row.high == 0}
    assert_equal_in_every_form(tmp_path, model, images)


@pytest.mark.slow
def test_a_convolution_of_one_dimension_is_one_of_height_1(tmp_path):
    keras.utils.set_random_seed(1)
    signal = keras.Input((24, 2), dtype="uint8")
    x = keras.layers.Reshape((1, 24, 2))(layers.QRescaling(1 / 128, -1.0)(signal))
    x = layers.QActivation()(layers.QConv2D(6, (1, 5), padding="same", strides=2, bits="8-8-8-8")(x))
    x = layers.QActivation()(layers.QConv2D(6, (1, 3), padding="same", dilation_rate=(1, 2), bits="8-8-8-8")(x))
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D((1, 2))(x))
    model = keras.Model(signal, layers.QError()(layers.QDense(3, bits="8-8-8-8")(x)))
    signals, labels = random_images((24, 2), 20), np.arange(20) % 3
    model.compile(IntegerSGD(8.0, 8, seed=0), SumSquaredError())
    model.fit(signals, np.eye(3, dtype=np.float32)[labels], batch_size=5, epochs=2, verbose=0)
    comparison = verify_model(model, signals, labels, steps=5, batch_size=4)
    assert comparison.equal, comparison
    assert_equal_in_every_form(tmp_path, model, signals)
