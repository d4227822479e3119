"""Variables that are no quantized kernels, which IntegerSGD leaves to a float optimizer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import oracle
from support.tensors import assert_equal, assert_same_bits
from wage_tf.layers import QActivation, QConv2D, QDense, QError
from wage_tf.losses import SumSquaredError
from wage_tf.optimizers import IntegerSGD

NUMBERS = np.random.default_rng(0)
T = np.eye(4, dtype=np.float32)[NUMBERS.integers(0, 4, 32)]


def with_float_variables():
    layers = [
        keras.Input((8, 8, 2)),
        QConv2D(4, 3, use_bias=True),
        keras.layers.BatchNormalization(),
        QActivation(),
        keras.layers.Flatten(),
        keras.layers.Dense(6),
        QDense(4, use_bias=True),
        QError(),
    ]
    return keras.Sequential(layers)


FLOAT_OPTIMIZERS = {
    "default": ({}, lambda: keras.optimizers.Adam(0.01)),
    "name": ({"float_optimizer": "rmsprop"}, keras.optimizers.RMSprop),
    "momentum": ({"float_optimizer": keras.optimizers.SGD(0.01, 0.9)}, lambda: keras.optimizers.SGD(0.01, 0.9)),
    "decay": (
        {"float_optimizer": keras.optimizers.AdamW(keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5))},
        lambda: keras.optimizers.AdamW(keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)),
    ),
}


@pytest.mark.parametrize("name", list(FLOAT_OPTIMIZERS))
@pytest.mark.parametrize("given_variables", [True, False])
def test_float_variables_have_an_optimizer_of_their_own(name, given_variables):
    arguments, reference = FLOAT_OPTIMIZERS[name]
    arguments, reference = dict(arguments), reference()
    if not isinstance(arguments.get("float_optimizer", ""), str):
        arguments["float_optimizer"] = arguments["float_optimizer"].from_config(
            arguments["float_optimizer"].get_config()
        )
    model = with_float_variables()
    variables = model.trainable_variables
    optimizer = IntegerSGD(2.0, 8, seed=1, **arguments)
    optimizer.build(variables)
    quantized = [hasattr(v, "bits") for v in variables]
    assert quantized == [True, True, False, False, False, False, True, True]
    copies = [keras.Variable(v.numpy()) for v, is_kernel in zip(variables, quantized, strict=True) if not is_kernel]
    for step in range(3):
        gradients = [NUMBERS.standard_normal(v.shape).astype(np.float32) for v in variables]
        before = [v.numpy() for v in variables]
        optimizer.apply(gradients, *([variables] if given_variables else []))
        reference.apply([g for g, is_kernel in zip(gradients, quantized, strict=True) if not is_kernel], copies)
        expected = iter(copies)
        for index, (variable, w, g) in enumerate(zip(variables, before, gradients, strict=True)):
            if quantized[index]:
                delta = oracle.quantize_gradient(g, 8, 2.0, oracle.variable_seed(1, index, step))
                limit = 0.5 if variable.name == "kernel" else 8.0
                assert_equal(variable, np.clip(w - delta, -limit, limit))
            else:
                assert_same_bits(variable.numpy(), next(expected).numpy())
    assert int(optimizer.iterations) == int(optimizer.float_optimizer.iterations) == 3


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_float_variables_in_a_graph_as_eagerly(jit_compile):
    results = []
    for function in (lambda f: f, lambda f: tf.function(f, jit_compile=jit_compile, autograph=False)):
        keras.utils.set_random_seed(5)
        model = with_float_variables()
        variables = model.trainable_variables
        optimizer = IntegerSGD(8.0, 8, seed=1, float_optimizer=keras.optimizers.SGD(2.0**-6, momentum=0.5))
        optimizer.build(variables)
        step = function(lambda gradients: optimizer.apply(gradients, variables))  # noqa: B023
        numbers = np.random.default_rng(3)
        for _ in range(3):
            step([tf.constant(numbers.integers(-64, 65, v.shape) / 64, tf.float32) for v in variables])
        results.append([v.numpy() for v in [*variables, *optimizer.variables]])
    for eager, compiled_ in zip(*results, strict=True):
        np.testing.assert_array_equal(compiled_, eager)


@pytest.mark.slow
def test_state_of_the_float_optimizer_is_saved_and_restored(tmp_path):
    images = NUMBERS.standard_normal((32, 8, 8, 2)).astype(np.float32)

    def steps(model, count):
        for _ in range(count):
            model.train_on_batch(images, T)
        return model.get_weights()

    model = with_float_variables()
    model.compile(IntegerSGD(8.0, 8, seed=9), SumSquaredError())
    steps(model, 2)
    assert len(model.optimizer.variables) == 2 + 2 + 2 * 4  # Adam keeps two moments of each of the four
    model.save(tmp_path / "halfway.keras")
    loaded = keras.saving.load_model(tmp_path / "halfway.keras")
    fresh = keras.models.clone_model(model)
    fresh.compile(IntegerSGD(8.0, 8, seed=9), SumSquaredError())
    fresh.optimizer.build(fresh.trainable_variables)
    fresh.set_weights(model.get_weights())
    fresh.optimizer.set_weights([v.numpy() for v in model.optimizer.variables])
    through = steps(model, 2)
    for other in (loaded, fresh):
        for a, b in zip(steps(other, 2), through, strict=True):
            assert_same_bits(a, b)


@pytest.mark.parametrize("frozen", [QConv2D, keras.layers.BatchNormalization])
def test_one_kind_of_variables_alone(frozen):
    """Without quantized kernels, or without float variables, the other kind trains and steps are counted."""
    model = with_float_variables()
    for layer in model.layers:
        is_kept = isinstance(layer, keras.layers.BatchNormalization if frozen is QConv2D else QConv2D)
        layer.trainable = is_kept
    optimizer = IntegerSGD(8.0, 8, seed=1)
    variables = [v for v in model.trainable_variables if v.name != "bias"]
    before = [v.numpy() for v in variables]
    optimizer.build(variables)
    optimizer.apply([np.ones(v.shape, np.float32) for v in variables], variables)
    assert all(np.any(v.numpy() != w) for v, w in zip(variables, before, strict=True))
    assert int(optimizer.iterations) == 1


@pytest.mark.slow
def test_options_of_the_float_optimizer_touch_float_variables_alone():
    floats = keras.optimizers.SGD(0.0, weight_decay=0.0, use_ema=True, ema_momentum=0.5)
    model = with_float_variables()
    model.compile(IntegerSGD(8.0, 8, seed=1, float_optimizer=floats), SumSquaredError())
    images = NUMBERS.standard_normal((32, 8, 8, 2)).astype(np.float32)
    before = model.get_weights()
    model.fit(images, T, verbose=0)
    quantized = [v.numpy() for v in model.trainable_variables if hasattr(v, "bits")]
    assert all(np.any(w != b) for w, b in zip(quantized, [*before[:2], *before[-2:]], strict=True))
    assert all(np.array_equal(w * 128, np.rint(w * 128)) for w in quantized)


def test_accumulated_steps_are_those_of_both():
    model = with_float_variables()
    model.compile(IntegerSGD(8.0, 8, seed=1, gradient_accumulation_steps=2), SumSquaredError())
    images = NUMBERS.standard_normal((32, 8, 8, 2)).astype(np.float32)
    before = [v.numpy() for v in model.trainable_variables]
    model.train_on_batch(images, T)
    assert all(np.array_equal(v.numpy(), w) for v, w in zip(model.trainable_variables, before, strict=True))
    model.train_on_batch(images, T)
    assert all(np.any(v.numpy() != w) for v, w in zip(model.trainable_variables, before, strict=True))
    quantized = [v.numpy() for v in model.trainable_variables if hasattr(v, "bits")]
    assert all(np.array_equal(w * 128, np.rint(w * 128)) for w in quantized)


def test_options_that_contradict_each_other_are_refused():
    floats = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    with pytest.raises(
        ValueError, match=r"gradient_accumulation_steps: one for all variables.* received None there and 2"
    ):
        IntegerSGD(8.0, 8, float_optimizer=floats)
