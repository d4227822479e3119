"""Trainings by the exported C code end in the weights of `fit`; the page's tables are what the records say."""

import json
import shutil

import keras
import numpy as np
import pytest

from experiments.device import emulated, page
from experiments.device.cases import CASES
from experiments.device.host import Host
from experiments.device.pair import Pair
from experiments.device.perceptrons import Perceptron
from experiments.device.rotated import Rotated, turn
from wage_tf import integer, models
from wage_tf.datasets import Dataset
from wage_tf.errors import UserError
from wage_tf.export import Training
from wage_tf.losses import SumSquaredError
from wage_tf.optimizers import IntegerSGD

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
PERCEPTRON = Perceptron("own", "mlp_100_50", "8-8-8-8", 8, 2, ((0, 3), (1, 0)), seed=3)


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (50, 16, 16, 1), np.uint8), np.arange(50) % 10
    return Dataset.from_arrays("own", images, labels, images[:20], labels[:20])


def device(folder, images, labels):
    """In the place of an emulated one: the steps from the exported weights on, on this machine."""
    host = Host(folder, "device")
    for batch in zip(images, labels, strict=True):
        host.train_step(*batch)
    return emulated.Answer(host.save(), 123, 45)


def forgetful(folder, images, labels):
    """A device that leaves the last step out."""
    return device(folder, images[:-1], labels[:-1])


@pytest.mark.slow
@needs_compiler
def test_a_perceptron_ends_in_the_weights_of_fit(tmp_path, dataset):
    pair = PERCEPTRON.pair(dataset, tmp_path)
    *_, figures = PERCEPTRON.measure(pair, dataset, device)
    assert figures["steps"] == figures["emulated"]["equal_steps"] + 12 == 14
    assert len(figures["errors"]) == 2

    keras.utils.set_random_seed(3)
    model = models.build("mlp_100_50", "8-8-8-8", dataset.input_shape, 10)
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([6], [8.0, 1.0])
    model.compile(IntegerSGD(rate, bits="8-8-8-8", seed=3), SumSquaredError())
    integer.fit(model, dataset.train_batches(8, 3), epochs=2, steps_per_epoch=7, shuffle=False, verbose=0)
    found = pair.check().kernels
    for name, kernel in integer.freeze(model).kernels.items():
        assert np.array_equal(found[name].accumulators, kernel.accumulators)


@pytest.mark.slow
@needs_compiler
def test_a_rotated_adaptation_trains_the_last_layers_alone(tmp_path, dataset):
    graph = integer.freeze(models.build("lenet5", "2-8-8-8", dataset.input_shape, 10, width=0.1))
    pair = Pair(tmp_path, graph, Training(8, "fc2", 3, 0))
    first, last = Rotated("fc2", 8, 2, ((0, 3), (1, 0)), emulated_steps=4).measure(pair, dataset, device)
    assert first["emulated"] == {
        "machine": "cortex-m4 -O2",
        "equal_steps": 4,
        "step_instructions": 123,
        "image_instructions": 45,
    }
    assert last == {**first, "errors": last["errors"], "steps": 12}
    assert len(last["errors"]) == 2
    found = pair.check().kernels
    changed = [n for n, k in graph.kernels.items() if not np.array_equal(found[n].accumulators, k.accumulators)]
    assert changed == ["fc2"]


@pytest.mark.slow
@needs_compiler
def test_a_difference_is_found(tmp_path, dataset):
    pair = PERCEPTRON.pair(dataset, tmp_path)
    with pytest.raises(ValueError, match="after 2 steps"):
        next(PERCEPTRON.measure(pair, dataset, forgetful))
    pair.host.train_step(np.full((8, 16, 16, 1), 200, np.uint8), np.arange(8))
    with pytest.raises(ValueError, match=r"weights are not the engine's after 2 steps"):
        pair.check()


def test_what_does_not_fit_the_device_is_refused(tmp_path, dataset):
    graph = integer.freeze(models.build("mlp", "2-8-8-8", dataset.input_shape, 10))
    with pytest.raises(UserError, match="bytes of RAM are needed"):
        Pair(tmp_path, graph, Training(8), ram=262144)


def test_images_turn_by_90_degrees():
    image = np.array([[1, 2], [3, 4]], np.uint8).reshape(1, 2, 2, 1)
    assert turn(image)[0, ..., 0].tolist() == [[2, 4], [1, 3]]


def test_the_page_has_a_row_for_every_record(tmp_path):
    target = tmp_path / "page.md"
    target.write_text("a\n<!-- rotated -->\nold\n<!-- end -->\nb\n<!-- field -->\n<!-- end -->\nc\n")
    figures = {
        "needs": {"ram": 1234, "stack": 5, "flash": 6789},
        "emulated": {"step_instructions": 85_520_000},
        "errors": [3.0, 2.25, 2.5],
    }
    settings = {"network": "mlp_100_50", "bits": "8-8-8-8", "batch": 64, "epochs": 3, "dataset": "mnist", "seed": 0}
    (tmp_path / "mnist.json").write_text(json.dumps({"settings": settings, "figures": figures}))
    page.write(target, tmp_path)
    text = target.read_text()
    assert "old" not in text
    assert "| 97.50% | 97.75% | 96.98% | 97.36% | 1,234 | 6,789 | 85.5 |" in text
    page.write(target, tmp_path)
    assert target.read_text() == text


def test_the_documentation_is_what_the_records_say(tmp_path):
    copy = tmp_path / "devices.md"
    shutil.copy(page.PAGE, copy)
    page.write(copy)
    assert copy.read_text() == page.PAGE.read_text()
    assert {path.stem for path in page.RECORDS.glob("*.json")} == CASES.keys()
