"""What a run takes from the Keras model that it begins with."""

from __future__ import annotations

import json
import zipfile

import keras
import pytest

from wage_tf.runs.source import Source

layers = keras.layers


@keras.saving.register_keras_serializable(package="tests")
class OwnLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return y_pred


def own_function(y_true, y_pred):
    return y_pred


def saved(path, loss):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="dense")])
    if loss is not None:
        model.compile("adam", loss)
    model.save(path)
    return Source.of(str(path), "keep")


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True, name="xent"), "softmax_cross_entropy"),
        ([keras.losses.CategoricalCrossentropy(from_logits=True)], "softmax_cross_entropy"),
        (keras.losses.categorical_crossentropy, "softmax_cross_entropy"),
        ("sparse_categorical_crossentropy", "softmax_cross_entropy"),
        (keras.losses.CategoricalFocalCrossentropy(from_logits=True), "softmax_cross_entropy"),
        ("mse", "sum_squared_error"),
        (OwnLoss(), "sum_squared_error"),
        (own_function, "sum_squared_error"),
        ({"dense": "categorical_crossentropy"}, "softmax_cross_entropy"),
        (None, "sum_squared_error"),
    ],
)
def test_scores_have_the_loss_that_their_model_was_compiled_with(loss, expected, tmp_path):
    assert saved(tmp_path / "net.keras", loss).loss == expected


@pytest.mark.parametrize(
    "written",
    [
        None,
        3,
        [],
        {"loss": {}},
        {"loss": {"class_name": 3}},
        {"loss": {"class_name": "get"}},
        {"loss": "serialize"},
        {"loss": [["mse"]]},
    ],
)
def test_a_file_may_say_anything_of_its_loss(written, tmp_path):
    saved(tmp_path / "net.keras", "mse")
    with zipfile.ZipFile(tmp_path / "net.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = {**json.loads(members["config.json"]), "compile_config": written}
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        for name, content in {**members, "config.json": json.dumps(config)}.items():
            archive.writestr(name, content)
    assert Source.of(str(tmp_path / "net.keras"), "keep").loss == "sum_squared_error"
