"""`train.py --evaluate`: a finished run or a model on the data of its training or on another."""

from __future__ import annotations

import json
import warnings

import pytest

import models
import train
from support.images import image_folder
from wage_tf import datasets
from wage_tf.cli import verify

pytestmark = pytest.mark.slow


def test_evaluate_repeats_the_test_error(finished, capsys):
    assert train.main(["--evaluate", str(finished)]) == 0
    error = json.loads((finished / "results.json").read_text())["test_error"]
    assert f"test error {error:.2f}% on 360 images of digits" in capsys.readouterr().out


def test_another_place_of_the_data_can_be_evaluated(finished, monkeypatch):
    asked, load = [], datasets.load
    monkeypatch.setattr(datasets, "load", lambda name, *rest: asked.append((name, *rest)) or load(name, limit=320))
    assert train.main(["--evaluate", str(finished), "--data-dir", "elsewhere"]) == 0
    assert asked == [("digits", "elsewhere", 320, None)]


def test_another_data_set_can_be_evaluated(finished, tmp_path, capsys):
    folder = image_folder(tmp_path / "images", [str(digit) for digit in range(10)], (28, 28), "L")
    (folder / "test").symlink_to(folder / "train")
    assert train.main(["--evaluate", str(finished), "--dataset", str(folder)]) == 0
    assert f"% on 20 images of {folder}" in capsys.readouterr().out


def test_images_are_cropped_for_evaluation_as_in_training(tmp_path, capsys):
    folder = image_folder(tmp_path / "images", size=(256, 256))
    (folder / "test").symlink_to(folder / "train")
    run = str(tmp_path / "run")
    arguments = ["--dataset", str(folder), "--model", "mlp", "--width", "0.01", "--epochs", "1", "--run-dir", run]
    assert train.main([*arguments, "--histogram-freq", "0"]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["augmentation"]["crop"] == 224
    (tmp_path / "other").symlink_to(folder)
    assert train.main(["--evaluate", run, "--dataset", str(tmp_path / "other")]) == 0
    assert f"on 4 images of {tmp_path / 'other'}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["mlp", "autoencoder"])
def test_a_model_of_other_scores_is_not_evaluated(name, tmp_path, capsys):
    models.build(name, "2-8-8-8", (28, 28, 1), 3, 0.05).save(tmp_path / "net.keras")
    assert train.main(["--evaluate", str(tmp_path / "net.keras"), "--dataset", "digits"]) == 2
    assert "has 10 classes, the network gives scores of" in capsys.readouterr().err


def test_an_autoencoder_is_verified_on_data_that_is_named(tmp_path, capsys):
    arguments = ["--model", "autoencoder", "--width", "0.1", "--limit", "64", "--epochs", "1"]
    assert train.main([*arguments, "--histogram-freq", "0", "--run-dir", str(tmp_path / "run")]) == 0
    assert verify.main([str(tmp_path / "run"), "--dataset", "digits", "--steps", "2", "--images", "20"]) == 0
    assert "verdict: EQUAL" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("classes", "size", "message"),
    [
        ("abcdefghij", (28, 28), "classes a, b, c, ..., the network has 0, 1, 2, ..."),
        ("ab", (9, 9), "images of (9, 9, 1)"),
        ("ab", (28, 28), "has 2 classes"),
    ],
)
def test_data_of_another_kind_is_not_evaluated(finished, classes, size, message, tmp_path, capsys):
    folder = image_folder(tmp_path / "images", classes, size, mode="L")
    assert train.main(["--evaluate", str(finished), "--dataset", str(folder)]) == 2
    assert message in capsys.readouterr().err


def test_warnings_are_shown_as_before_afterwards(finished):
    before = warnings.showwarning
    assert train.main(["--evaluate", str(finished)]) == 0
    assert warnings.showwarning is before


@pytest.mark.parametrize("more", [["--bits", "8,8,8,8"], ["--epochs", "3"], ["--resume"], ["--from", "m.keras"]])
def test_what_does_not_go_with_evaluate(more, capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(["--evaluate", "runs/some", *more])
    assert stop.value.code == 2
    assert f"{more[0]} does not go with --evaluate" in capsys.readouterr().err


def test_a_damaged_model_is_named(finished, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_bytes((finished / "config.json").read_bytes())
    (run / "model.keras").write_bytes((finished / "model.keras").read_bytes()[:1000])
    assert train.main(["--evaluate", str(run)]) == 2
    assert "model.keras is damaged or not a Keras model" in capsys.readouterr().err
