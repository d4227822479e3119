"""benchmarks/deployed_equality.py: exact, for any number of classes, and with an exit code."""

import json
import shutil

import keras
import numpy as np
import pytest

import train
from support.written_runs import write_run
from wage_tf import layers

pytest.importorskip("ai_edge_litert")
deployed_equality = pytest.importorskip("benchmarks.deployed_equality")
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None or shutil.which("make") is None, reason="needs gcc, make")


def test_scores_are_compared_exactly():
    scores = np.array([[3, -2], [5, 1], [0, 7]])
    keras_scores = (scores / 8).astype(np.float32)
    assert deployed_equality.count_equal(scores, keras_scores, 3) == 3
    assert deployed_equality.count_equal(scores[:2], keras_scores, 3) == 2
    keras_scores[1, 0] += 1 / 64
    assert deployed_equality.count_equal(scores, keras_scores, 3) == 2


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of images in a folder that are resized, of three classes; a linear network."""
    for split in ("train", "test"):
        for name in ("one", "two", "three"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            pixels = np.random.default_rng(len(name)).integers(0, 256, (9, 7, 3)).astype(np.uint8)
            keras.utils.save_img(tmp_path / "data" / split / name / "a.png", pixels, scale=False)
    network = [keras.Input((6, 6, 3), dtype="uint8"), layers.QRescaling(1 / 256), keras.layers.Flatten()]
    write_run(tmp_path / "run", model=keras.Sequential([*network, layers.QDense(3), layers.QError()]))
    path = tmp_path / "run" / "config.json"
    changes = {"dataset": str(tmp_path / "data"), "image_size": 6}
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    monkeypatch.setattr("sys.argv", ["deployed_equality", str(tmp_path / "run")])


def test_another_number_of_classes(run, capsys):
    assert deployed_equality.main() == 0
    printed = capsys.readouterr().out
    for form in ("litert", "packed", "c"):
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
    for form in ("litert", "packed", "c"):
        assert f"{form}: 360 of 360 images equal" in printed
