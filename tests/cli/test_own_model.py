"""`train.py --from`: a Keras model of the user's own, converted and trained."""

from __future__ import annotations

import json
import shutil

import keras
import pytest

import train
from support.runs import TINY, assert_same_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def own_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "net.keras"
    layers = [keras.Input((28, 28, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    layers += [keras.layers.Dense(12, "relu"), keras.layers.BatchNormalization(), keras.layers.Dense(10, "softmax")]
    keras.Sequential(layers).save(path)
    return path


@pytest.mark.parametrize("weights", ["keep", "fresh"])
def test_it_trains_stops_and_goes_on(own_model, weights, tmp_path):
    arguments = ["--from", str(own_model), "--weights", weights, *TINY[4:], "--run-dir"]
    assert train.main([*arguments, str(tmp_path / "whole"), "--epochs", "2"]) == 0
    assert train.main([*arguments, str(tmp_path / "run"), "--epochs", "1"]) == 0
    assert train.main([*arguments, str(tmp_path / "run"), "--epochs", "2", "--resume"]) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["model"], config["loss"]) == ("net", "softmax_cross_entropy")
    assert config["schedule"] == ("1@0" if weights == "keep" else "8@0")
    assert train.main(["--evaluate", str(tmp_path / "run")]) == 0


def test_images_of_one_channel_may_have_none_in_the_model(tmp_path):
    """TensorFlow's beginner's model."""
    layers = [keras.Input((28, 28)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    layers += [keras.layers.Dense(12, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(10)]
    model = keras.Sequential(layers)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.save(tmp_path / "net.keras")
    run = str(tmp_path / "run")
    assert train.main(["--from", str(tmp_path / "net.keras"), *TINY[4:], "--run-dir", run, "--epochs", "1"]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["loss"] == "softmax_cross_entropy"
    assert train.main(["--evaluate", run]) == 0


def test_another_model_in_its_place_is_refused(own_model, tmp_path, capsys):
    model = tmp_path / "net.keras"
    shutil.copy(own_model, model)
    arguments = ["--from", str(model), *TINY[4:], "--run-dir", str(tmp_path / "run")]
    assert train.main([*arguments, "--epochs", "1"]) == 0
    keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]).save(model)
    assert train.main([*arguments, "--epochs", "2", "--resume"]) == 2
    assert "was started with source" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("layer", "message"),
    [(keras.layers.Dense(7), "give a model of as many outputs"), (keras.layers.LSTM(10), "net")],
)
def test_what_does_not_convert_is_one_line(layer, message, tmp_path, capsys):
    model = tmp_path / "net.keras"
    first = keras.layers.Reshape((28, 28)) if isinstance(layer, keras.layers.LSTM) else keras.layers.Flatten()
    keras.Sequential([keras.Input((28, 28, 1)), first, layer], name="net").save(model)
    assert train.main(["--from", str(model), "--run-dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [["--from", "x.keras", "--width", "2"], ["--weights", "keep"]])
def test_what_does_not_go_together(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(arguments)
    assert stop.value.code == 2
    assert "--from" in capsys.readouterr().err
