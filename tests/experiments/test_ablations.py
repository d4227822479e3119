import argparse
import functools
import json

import numpy as np
import pytest
import tensorflow as tf
from wage_tf.commands import load_run

import models
import train
from experiments import ablations
from wage_tf import ops, training

TINY = ["--model", "mlp", "--width", "0.05", "--limit", "320", "--batch-size", "32", "--histogram-freq", "0"]
NONE = dict.fromkeys(ablations.OPTIONS)


def built(name="mlp", shape=(28, 28, 1), **options):
    given = argparse.Namespace(**{**NONE, **options})
    return ablations.build(name, "2-8-8-8", shape, 10, 0.1, options=given)


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


def test_without_options_it_is_train_py(tmp_path):
    assert train.main([*TINY, "--epochs", "1", "--run-dir", str(tmp_path / "train")]) == 0
    assert ablations.main([*TINY, "--epochs", "1", "--run-dir", str(tmp_path / "ablation")]) == 0
    found, expected = ((tmp_path / name / "metrics.csv").read_text() for name in ("ablation", "train"))
    assert found == expected


def test_factor_and_clip_reach_every_kernel():
    for layer in [layer for layer in built(factor=2.0, clip=8).layers if hasattr(layer, "quantized_kernel")]:
        assert (layer.factor, layer.kernel_constraint.bits) == (2.0, 8)


@pytest.mark.parametrize(("name", "shape"), [("lenet5", (28, 28, 1)), ("vgg7", (16, 16, 3))])
def test_the_output_is_clipped_or_plain_whatever_the_network_has(name, shape):
    assert kinds(built(name, shape, output="clipped"))[-3:] == ["QDense", "QActivation", "QError"]
    assert kinds(built(name, shape, output="plain"))[-2:] == ["QDense", "QError"]


def test_the_networks_own_output_is_left_as_it_is():
    own = models.build("lenet5", "2-8-8-8", (28, 28, 1), 10, 0.1)
    ours = built("lenet5", output="clipped")
    assert kinds(ours) == kinds(own)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in own.layers]


def test_amplified_errors_are_the_paper_s_formula():
    x, e = tf.constant([0.5, -0.5, 0.25, 2.0]), tf.constant([3.0, -1.0, 0.004, 0.0])
    for gamma in (1.0, 2.0, 8.0):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = ablations.AmplifiedQError(gamma)(x)
        assert np.array_equal(y, x)
        expected = ops.quantize(gamma * e / ops.shift(tf.constant(3.0)), 8)
        assert np.array_equal(tape.gradient(y, x, e), expected)


def errors_of(model, images, targets):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum((targets - model(images, training=True)) ** 2) / 2
    return [np.asarray(g) for g in tape.gradient(loss, [v.value for v in model.trainable_variables])]


def test_gamma_1_changes_nothing_and_gamma_4_does(digits):
    images, targets = np.repeat(np.repeat(digits[0][:32], 4, 1), 4, 2)[:, :28, :28], digits[1][:32]
    model = built()
    own = errors_of(model, images, targets)
    one, four = (errors_of(ablations.with_gamma(model, gamma), images, targets) for gamma in (1.0, 4.0))
    assert all(np.array_equal(a, b) for a, b in zip(own, one, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(own, four, strict=True))


def test_the_random_width_reaches_the_optimizer(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(train, "fit", lambda run, config, dataset, model, state: seen.append(model.optimizer))
    assert ablations.main([*TINY, "--epochs", "1", "--random-width", "4", "--run-dir", str(tmp_path / "run")]) == 0
    assert seen[0].random_width == 4


def test_a_run_resumes_with_its_own_ablation_only(tmp_path, capsys):
    arguments = [*TINY, "--epochs", "1", "--resume", "--run-dir", str(tmp_path / "run")]
    assert ablations.main([*arguments, "--gamma", "4"]) == 0
    assert json.loads((tmp_path / "run" / "results.json").read_text())["epochs"] == 1
    assert ablations.main([*arguments, "--gamma", "2"]) == 2
    assert "was started with other ablations" in capsys.readouterr().err
    assert ablations.main([*arguments, "--gamma", "4"]) == 0
    _, model = load_run(tmp_path / "run")
    assert "AmplifiedQActivation" in kinds(model)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--random-width", "0"], "random integers have 1 to 24 bits; received 0"),
        (["--output", "round"], "invalid choice: 'round'"),
        (["--clip", "0"], "an integer from 1 to 2147483647 is wanted, received '0'"),
        (["--model", "nonesuch"], "model: 'nonesuch' is not one of"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(given, message, tmp_path, capsys):
    try:
        code = ablations.main([*TINY, *given, "--run-dir", str(tmp_path / "run")])
    except SystemExit as stop:
        code = stop.code
    errors = capsys.readouterr().err
    assert (code, errors.count("\n")) == (2, 1)
    assert message in errors


def test_training_prepare_takes_our_build(digits):
    """The seam that ablations use: same seed, same initial weights as the library's own network."""
    from wage_tf import datasets, recipes

    data = datasets.load("digits")
    config = training.configure(
        data,
        recipes.get("digits"),
        {"dataset": "digits", "model": "mlp", "width": 0.05, "seed": 3, "checkpoint_steps": 0, "histogram_freq": 0},
    )
    options = argparse.Namespace(**{**NONE, "gamma": 2.0})
    own = training.prepare(config, data, models.build).get_weights()
    ours = training.prepare(config, data, functools.partial(ablations.build, options=options)).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(own, ours, strict=True))
