"""python -m wage_tf.integer verify, in-process, on runs that are integers and runs that are not."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from support.images import random_images
from support.written_runs import write_run
from wage_tf import datasets, integer, layers
from wage_tf.cli.verify import main_of_module as main
from wage_tf.errors import UserError
from wage_tf.integer import exactness, linear, nodes
from wage_tf.integer.comparison import Comparison
from wage_tf.losses import SumSquaredError
from wage_tf.native.network import Network
from wage_tf.optimizers import IntegerSGD

pytestmark = pytest.mark.slow


def verify(folder, capsys, *options):
    code = main(["verify", str(folder), *options])
    return code, capsys.readouterr()


def test_an_integer_run_is_equal(tmp_path, capsys):
    write_run(tmp_path / "run")
    code, printed = verify(tmp_path / "run", capsys, "--images", "40", "--steps", "3")
    lines = printed.out.splitlines()
    assert code == 0
    assert lines[0].split() == ["layer", "operand", "bits", "codes", "met", "sums", "equal"]
    table = {tuple(line.split()[:2]): line.split() for line in lines[1 : lines.index("")]}
    assert len(table) == 4 * 4 + 5
    assert all(row[-1] == "yes" for row in table.values())
    assert table["conv1", "W"][2:4] == ["2", "-1..1"]
    assert table["conv1", "stored"][2] == "8"
    assert "inference: 40 images, every code of every layer" in lines
    assert "training: 3 steps of 32 images, 3 of them with equal stored weights at the end" in lines
    assert lines[-1] == "verdict: EQUAL: these are integers, bit for bit"


@pytest.mark.parametrize(
    ("bits", "verdict", "named"),
    [
        ("2-8-f-f", "EQUAL in inference; training is NOT INTEGERS", "conv1: its weight gradient is float32 (k_G = f)"),
        ("2-8-8-f", "EQUAL in inference; training is NOT INTEGERS", "fc2: the errors that reach it are float32"),
        ("f-f-f-f", "NOT INTEGERS: the operands above", "conv1: weights and gradients"),
        ("2-f-8-f", "NOT INTEGERS: the operands above", "fc2_clip: activations and errors\nfc2_error: errors\n"),
    ],
)
def test_float_patterns_are_named(tmp_path, capsys, bits, verdict, named):
    write_run(tmp_path / "run", bits)
    code, printed = verify(tmp_path / "run", capsys, "--images", "8")
    assert code == 1
    assert f"verdict: {verdict}" in printed.out
    assert named in printed.out


def test_float_operands_are_told_by_their_pattern_and_not_by_a_name(tmp_path, capsys):
    image = keras.Input((28, 28, 1), dtype="uint8")
    x = keras.layers.Flatten()(layers.QRescaling(1 / 256)(image))
    write_run(tmp_path / "run", model=keras.Model(image, layers.QDense(10, bits="2-8-f-f", name="weights")(x)))
    _, printed = verify(tmp_path / "run", capsys, "--images", "8")
    assert "verdict: EQUAL in inference; training is NOT INTEGERS" in printed.out


def test_a_wrong_layer_is_found(tmp_path, capsys, monkeypatch):
    write_run(tmp_path / "run")
    truth = Comparison.__init__

    def damaged(self, model):
        truth(self, model)
        self.graph.kernels["fc1"].codes[0, 0] ^= 1

    monkeypatch.setattr(Comparison, "__init__", damaged)
    code, printed = verify(tmp_path / "run", capsys, "--images", "40", "--steps", "1")
    assert code == 1
    assert "verdict: NOT EQUAL: " in printed.out
    assert "fc1" in printed.out.splitlines()[-1]


def damaged(function, amount):
    """The function, the first number of its result changed."""

    def wrong(*arguments):
        result = function(*arguments)
        result.flat[0] += amount
        return result

    return wrong


@pytest.mark.parametrize(
    ("module", "name", "amount", "layer"),
    [
        (linear, "max_pool", 1000, "conv1_relu"),
        (linear, "max_pool_error", 1, "conv1"),
        (nodes.parameters, "quantize_gradient", 1, "conv1"),
    ],
)
def test_a_fault_of_the_engine_is_not_blamed_on_float32(tmp_path, capsys, monkeypatch, module, name, amount, layer):
    """A batch of 700 takes gradients past 2^24."""
    write_run(tmp_path / "run")
    monkeypatch.setattr(module, name, damaged(getattr(module, name), amount))
    code, printed = verify(tmp_path / "run", capsys, "--images", "40", "--steps", "1", "--batch-size", "700")
    verdict = printed.out.splitlines()[-1]
    assert code == 1
    assert verdict.startswith("verdict: NOT EQUAL: ")
    assert layer in verdict
    assert "float32" not in verdict
    assert "gradient sums could pass 2^24, where float32 stops being exact: " in printed.out


def test_wide_patterns_name_where_float32_is_not_exact(tmp_path, capsys):
    write_run(tmp_path / "run", "16-16-16-16")
    code, printed = verify(tmp_path / "run", capsys, "--images", "8", "--steps", "1", "--batch-size", "8")
    table = {tuple(line.split()[:2]): line.split() for line in printed.out.splitlines()}
    assert code == 1
    assert table["conv1", "W"][-1] == "yes"
    assert table["conv1", "W"][-2] == "NO"
    assert "  forward sums could pass 2^24, where float32 stops being exact: conv1 in 2 of 2 batches" in printed.out
    assert "  error sums could pass 2^24, where float32 stops being exact: " in printed.out
    verdict = printed.out.splitlines()[-1]
    assert "Keras' float32 sums left the exact range, the integers did not: conv1 (forward" in verdict


def test_bounds_hold_for_the_sums_met():
    """Estimated or computed, no sum is larger than its bound; overlapping poolings count their windows."""
    keras.utils.set_random_seed(1)
    for bits in ("2-8-8-8", "12-12-8-12"):
        model = keras.Sequential(
            [
                keras.Input((9, 9, 2), dtype="uint8"),
                layers.QRescaling(1 / 128, -1.0, bits),
                layers.QConv2D(3, 3, bits=bits, name="first"),
                layers.QActivation(bits),
                keras.layers.MaxPooling2D(3, strides=2),
                layers.QConv2D(4, 2, bits=bits, name="second"),
                layers.QActivation(bits),
                keras.layers.Flatten(),
                layers.QDense(10, bits=bits, name="last"),
                layers.QError(bits),
            ]
        )
        graph = integer.freeze(model)
        images = random_images((9, 9, 2), 6)
        outputs = integer.forward(graph, images)
        gradients, errors = integer.backward(graph, outputs, np.arange(6))
        forward = exactness.forward_bounds(graph, outputs)
        error = exactness.error_bounds(graph, outputs, errors)
        gradient = exactness.gradient_bounds(graph, outputs, errors)
        (pool,) = (node.name for node in graph.nodes if isinstance(node, integer.nodes.MaxPool2D))
        assert set(error) == {"second", "last", pool, graph.nodes[-1].name}
        for name in graph.kernels:
            assert np.abs(outputs[name].codes).max() <= forward[name]
            assert np.abs(gradients[f"{name}/kernel"].codes.astype(np.int64)).max() <= gradient[f"{name}/kernel"]
        for name in ("second", "last", pool):
            (node,) = (node for node in graph.nodes if node.name == name)
            assert np.abs(errors[node.inputs[0]].codes).max() <= error[name]
        assert np.abs(errors[pool].codes).max() * 4 == error[pool]
        assert (max(forward.values()) >= exactness.EXACT_SUMS) == (bits != "2-8-8-8")


def test_a_frozen_layer_is_compared_too(tmp_path):
    model = write_run(tmp_path / "run")
    model.get_layer("conv1").trainable = False
    comparison = Comparison(model)
    comparison.train([(random_images((28, 28, 1), 8), np.eye(10, dtype=np.float32)[np.arange(8)])] * 2, 8.0, 0)
    assert comparison.equal
    assert ("conv1", "stored") in comparison.rows
    assert ("conv1", "G") not in comparison.rows


def dense_model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1), dtype="uint8"),
            layers.QRescaling(1 / 256),
            keras.layers.Flatten(),
            layers.QDense(10, name="last"),
            layers.QError(),
        ]
    )


def test_a_loaded_sequential_on_batches_of_two_sizes(tmp_path, capsys):
    """20 images to train on, in batches of 16: the second holds 4."""
    write_run(tmp_path / "run", model=dense_model())
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"limit": 20, "data": None}))
    code, printed = verify(tmp_path / "run", capsys, "--images", "8", "--steps", "3", "--batch-size", "16")
    assert (code, printed.out.splitlines()[-1]) == (0, "verdict: EQUAL: these are integers, bit for bit")
    assert "training: 3 steps of 4 to 16 images" in printed.out


def many_batches(count, size=8):
    one_hot = np.eye(10, dtype=np.float32)
    return [(random_images((28, 28, 1), size, seed=i), one_hot[(np.arange(size) + i) % 10]) for i in range(count)]


def test_after_ten_steps_stored_weights_are_compared(native_engine):
    """The last two batches are larger than those before."""
    model, alone = dense_model(), dense_model()
    batches = [*many_batches(14), *many_batches(2, 11)]
    comparison = Comparison(model)
    comparison.train(batches, 8.0, 0)
    assert comparison.equal
    assert (comparison.steps.done, comparison.steps.every_code) == (16, 10)
    assert "  10 of them were compared in every code, the others in their stored weights" in str(comparison)
    alone.compile(IntegerSGD(8.0, seed=0), SumSquaredError())
    for images, targets in batches:
        alone.train_on_batch(images, targets)
    accumulators = comparison.graph.kernels["last"].accumulators
    assert np.array_equal(accumulators, integer.freeze(alone).kernels["last"].accumulators)


def test_a_step_that_differs_is_compared_in_every_code(native_engine, monkeypatch):
    """The native engine leaves a step out: the layer is named, and the steps after it are equal."""
    truth, steps = Network.train_step, []

    def train_step(self, *arguments):
        steps.append(arguments[-1])
        if len(steps) != 2:
            truth(self, *arguments)

    monkeypatch.setattr(Network, "train_step", train_step)
    comparison = Comparison(dense_model())
    comparison.train(many_batches(15), 8.0, 0)
    assert steps == [10, 11, 12, 13, 14]
    assert (comparison.steps.every_code, comparison.steps.differing) == (11, 0)
    assert str(comparison).splitlines()[-1] == "verdict: NOT EQUAL: last"


def test_after_a_step_that_ends_otherwise_the_integers_go_on_from_keras(native_engine, monkeypatch):
    truth = keras.Model.train_on_batch

    def train_on_batch(self, *arguments):
        step = int(self.optimizer.iterations)
        result = truth(self, *arguments)
        if step == 11:
            kernel = self.get_layer("last").kernel
            kernel.assign(np.where(kernel.numpy() < 0, kernel.numpy() + 2**-7, kernel.numpy()))
        return result

    monkeypatch.setattr(keras.Model, "train_on_batch", train_on_batch)
    comparison = Comparison(dense_model())
    comparison.train(many_batches(15), 8.0, 0)
    assert (comparison.steps.every_code, comparison.steps.differing) == (11, 1)
    assert str(comparison).splitlines()[-1] == "verdict: NOT EQUAL: last"


def test_bad_input_is_one_line(tmp_path, capsys):
    code, printed = verify(tmp_path, capsys)
    assert (code, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert "holds no run" in printed.err


def test_images_of_another_shape_are_refused(tmp_path):
    comparison = Comparison(write_run(tmp_path / "run"))
    with pytest.raises(UserError, match="images: uint8 of shape"):
        comparison.infer([(random_images((20, 20, 1), 2), np.zeros((2, 10), np.float32))])


def test_without_test_images_training_images_are_compared(tmp_path, capsys, monkeypatch):
    load = datasets.load
    monkeypatch.setattr(datasets, "load", lambda *args: dataclasses.replace(load(*args), test=None))
    write_run(tmp_path / "run", "2-8-f-f")
    _, printed = verify(tmp_path / "run", capsys, "--images", "8")
    assert "inference: 8 images, every code of every layer" in printed.out


def test_gradient_sums_past_2_to_24_are_found(tmp_path):
    """White images, all of one class: the first layer's sums grow with positions and batch."""
    keras.utils.set_random_seed(0)
    model = write_run(tmp_path / "run")
    graph = integer.freeze(model)
    images = np.full((64, 28, 28, 1), 255, np.uint8)
    outputs = integer.forward(graph, images)
    gradients, errors = integer.backward(graph, outputs, np.zeros(64, np.int64))
    bounds = exactness.gradient_bounds(graph, outputs, errors)
    for name, gradient in gradients.items():
        assert np.abs(gradient.codes).max() <= bounds[name]
    assert bounds["conv1/kernel"] == np.abs(errors["conv1"].codes.astype(np.int64)).sum(axis=(0, 1, 2)).max() * 127


def test_comparison_counts_inexact_gradients(tmp_path):
    model = write_run(tmp_path / "run")
    comparison = Comparison(model)
    images = random_images((28, 28, 1), 8)
    comparison.train([(images, np.eye(10, dtype=np.float32)[np.arange(8)])], 8.0, 0)
    assert comparison.equal
    assert {name for name, sums in comparison.exactness if sums == "gradient"} == {"conv1", "conv2", "fc1", "fc2"}
    assert all((entry.batches, entry.past, entry.differed) == (1, 0, 0) for entry in comparison.exactness.values())
