"""The pretrained networks: what loads is what the card says, to the last code."""

from __future__ import annotations

import dataclasses
import functools
import json

import keras
import numpy as np
import pytest

import wage_tf
from experiments import zoo as experiment
from support.images import random_images
from support.tensors import plain_operations
from wage_tf import zoo
from wage_tf.errors import UserError
from wage_tf.export.forms import FORMS

NAMES = zoo.names()
_LARGEST = 3_000_000


def test_it_holds_networks_and_all_of_them_are_small():
    assert "lenet5-mnist" in NAMES
    files = [path for path in experiment.FOLDER.iterdir() if path.suffix in (".json", ".xz")]
    assert len(files) == 2 * len(NAMES)
    assert sum(path.stat().st_size for path in files) < _LARGEST


@pytest.mark.parametrize("name", NAMES)
def test_the_keras_model_the_integer_graph_and_the_card_are_of_one_network(name):
    model, graph, card = zoo.load(name), zoo.graph(name), zoo.card(name)
    images = random_images(graph.input_shape, 8)
    with plain_operations():
        frozen, scores = wage_tf.integer.freeze(model), np.asarray(model(images))
    assert np.array_equal(scores, wage_tf.integer.infer(graph, images) * 2.0**-graph.output.fraction)
    assert frozen.parameters.keys() == graph.parameters.keys()
    for key, parameter in graph.parameters.items():
        for field in dataclasses.fields(parameter):
            found, expected = getattr(frozen.parameters[key], field.name), getattr(parameter, field.name)
            assert np.array_equal(found, expected), (key, field.name)
    costs = wage_tf.costs.model_costs(model).total
    assert (card.weights, card.macs) == (costs.parameters, costs.macs)
    assert len(card.labels) == np.prod(graph.output.shape)
    assert card.name == name
    assert all(str(value) for value in dataclasses.asdict(card).values())
    assert card.command == " && ".join(experiment.NETWORKS[name].commands)
    assert card.licence.endswith(experiment.NETWORKS[name].data_licence)


@pytest.mark.slow
def test_training_goes_on_from_the_stored_weights():
    model = zoo.load("lenet5-mnist")
    before = [kernel.numpy() for kernel in model.trainable_variables]
    model.compile(wage_tf.optimizers.IntegerSGD(8.0, seed=0), wage_tf.losses.SumSquaredError())
    images = random_images((28, 28, 1), 16)
    model.train_on_batch(images, keras.utils.to_categorical(np.arange(16) % 10, 10))
    moved = [kernel.numpy() - old for kernel, old in zip(model.trainable_variables, before, strict=True)]
    assert all(np.array_equal(step * 128, np.rint(step * 128)) for step in moved)
    assert any(step.any() for step in moved)


def test_an_unknown_name_and_a_damaged_file_are_told(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"zoo: one of .*lenet5-mnist.*; received 'alexnet'"):
        zoo.load("alexnet")
    document = json.loads((experiment.FOLDER / "lenet5-mnist.json").read_text())
    (tmp_path / "lenet5-mnist.json").write_text(json.dumps(document))
    (tmp_path / "lenet5-mnist.wage.xz").write_bytes(b"other")
    monkeypatch.setattr(zoo.resources, "files", lambda _: tmp_path)
    with pytest.raises(UserError, match="lenet5-mnist is damaged"):
        zoo.graph("lenet5-mnist")


def test_the_page_shows_the_cards():
    assert experiment.page() in experiment.PAGE.read_text(), "run `python -m experiments.zoo page`"


@pytest.mark.slow
def test_every_network_is_exported_in_every_form(tmp_path, capsys):
    for package in ("ai_edge_litert", "onnx"):
        pytest.importorskip(package)
    experiment.export(tmp_path)
    expected = {f"{name}{suffix}" for name in NAMES for suffix, _ in FORMS.values()}
    assert {path.name for path in tmp_path.iterdir()} == expected
    assert len(capsys.readouterr().out.splitlines()) == len(expected)


@pytest.fixture(scope="module")
def datasets_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment.datasets, "load", functools.cache(experiment.datasets.load))
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("datasets_once")
@pytest.mark.parametrize("name", NAMES)
def test_the_error_is_that_of_the_card(name, tfds_data_dir):
    assert experiment.measured_error(name, tfds_data_dir) == zoo.card(name).test_error
