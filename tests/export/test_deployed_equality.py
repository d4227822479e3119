"""Trained, verified, deployed: benchmarks/deployed_equality.py, and every network of today on the way through it."""

import json
import shutil

import keras
import numpy as np
import pytest

import train
from support.images import random_images
from support.written_runs import write_run
from wage_tf import layers
from wage_tf.cli import export, verify
from wage_tf.export.litert import read_card
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
    assert "verdict: EQUAL: these are integers, bit for bit" in capsys.readouterr().out
    model = RunDirectory(run).load_model()
    assert np.ptp(model(random_images((32, 32, 3), 4))) > 0
    monkeypatch.setattr("sys.argv", ["deployed_equality", run])
    assert deployed_equality.main() == 0
    printed = capsys.readouterr().out
    for form in ("litert", "onnx", "packed", "c"):
        assert f"{form}: 12 of 12 images equal" in printed
    assert export.main([run, "--to", "litert", "--out", str(tmp_path / "litert")]) == 0
    labels = [] if name == "autoencoder" else ["one", "three", "two"]
    assert list(read_card(tmp_path / "litert").labels) == labels
