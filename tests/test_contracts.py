"""What every public class of wage_tf must fulfil, over all of `support.contracts`."""

import inspect
import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import wage_tf
from support.contracts import CASES, LAYERS, inputs_of
from support.tensors import assert_same_bits, plain_operations
from wage_tf.layers import QDense, QError

MODULES = ("layers", "losses", "metrics", "initializers", "constraints", "optimizers")
BY_CLASS = sorted({type(case.make()) for case in CASES}, key=lambda cls: cls.__name__)
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_layer = pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
each_class = pytest.mark.parametrize("cls", BY_CLASS, ids=lambda cls: cls.__name__)


def public_classes():
    """Every public class that the modules define."""
    found = set()
    for module in MODULES:
        module = getattr(wage_tf, module)
        for name in getattr(module, "__all__", dir(module)):
            value = getattr(module, name)
            if isinstance(value, type) and value.__module__.startswith(module.__name__) and not name.startswith("_"):
                found.add(value)
    return found


def registered_classes():
    """Every class that the modules register with Keras."""
    prefixes = tuple(f"wage_tf.{module}" for module in MODULES)
    registered = keras.saving.get_custom_objects()
    return {
        value
        for name, value in registered.items()
        if name.startswith("wage_tf>") and isinstance(value, type) and value.__module__.startswith(prefixes)
    }


def test_the_list_is_complete():
    assert public_classes() == registered_classes() == set(BY_CLASS)
    assert len(BY_CLASS) >= 10


@each_class
def test_documentation(cls):
    assert cls.__doc__, f"{cls.__name__} has no docstring"
    summary = cls.__doc__.strip().partition("\n\n")[0]
    assert summary.endswith((".", ")."))
    assert "Args:" in cls.__doc__, f"{cls.__name__}: the docstring has no Args"
    arguments = cls.__doc__.partition("Args:")[2]
    own = [base for base in cls.__mro__ if base.__module__.startswith("wage_tf") and "__init__" in vars(base)]
    taken = set()
    if own:
        code = own[0].__init__.__code__
        taken = set(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])
    for argument in taken - set(inspect.signature(keras.layers.Conv2D).parameters):
        assert re.search(rf"^ +{argument}:", arguments, re.MULTILINE), f"{cls.__name__}: {argument} is not described"


@each_class
def test_registered(cls):
    assert keras.saving.get_registered_name(cls) == f"wage_tf>{cls.__name__}"
    assert keras.saving.get_registered_object(f"wage_tf>{cls.__name__}") is cls


@each_case
def test_config_and_serialization_round_trip(case):
    first = case.make()
    config = json.dumps(first.get_config())
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(first)))
    assert serialized["registered_name"] == f"wage_tf>{type(first).__name__}"
    for second in (type(first).from_config(json.loads(config)), keras.saving.deserialize_keras_object(serialized)):
        assert type(second) is type(first)
        assert json.loads(json.dumps(second.get_config())) == json.loads(config)


def sequential(case):
    return keras.Sequential([keras.Input(case.input_shape, dtype=case.input_dtype), case.make()])


def functional(case):
    inputs = keras.Input(case.input_shape, dtype=case.input_dtype)
    return keras.Model(inputs, case.make()(inputs))


@keras.saving.register_keras_serializable(package="wage_tf_tests")
class Subclassed(keras.Model):
    """A subclassed model around one layer."""

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def call(self, inputs):
        return self.layer(inputs)

    def build(self, input_shape):
        if not self.layer.built:
            self.layer.build(input_shape)

    def build_from_config(self, config):
        self.build(config["input_shape"])

    def get_config(self):
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("layer")), **config)


def subclassed(case):
    model = Subclassed(case.make())
    model(inputs_of(case))
    return model


@each_layer
def test_models_of_every_style_agree_and_are_what_was_saved(case, tmp_path):
    """The same layer in Sequential, functional and subclassed models."""
    inputs, weights = inputs_of(case), None
    for build in (sequential, functional, subclassed):
        model = build(case)
        if weights is None:
            weights, expected = model.get_weights(), np.asarray(model(inputs))
        model.set_weights(weights)
        assert_same_bits(model(inputs), expected)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        assert_same_bits(loaded(inputs), expected)
        for actual, weight in zip(loaded.get_weights(), weights, strict=True):
            assert_same_bits(actual, weight)
        for actual, layer in zip(loaded._flatten_layers(), model._flatten_layers(), strict=True):
            assert getattr(actual, "alpha", None) == getattr(layer, "alpha", None)
            assert getattr(actual, "bits", None) == getattr(layer, "bits", None)


def is_exact(layer):
    """Whether every mode must give the same bits: the values are integers times a power of two."""
    activation = getattr(layer, "activation", None)
    on_grid = activation in (None, keras.activations.linear, keras.activations.relu)
    return on_grid and (not hasattr(layer, "bits") or layer.bits.w is not None)


@each_layer
def test_modes_agree(case):
    """Eager, graph and XLA give the same outputs and gradients."""
    layer = case.make()
    inputs = tf.constant(inputs_of(case))
    layer.build(inputs.shape)
    outputs = layer(inputs)
    upstream = np.random.default_rng(1).integers(-64, 65, outputs.shape) / 128
    upstream = tf.constant(upstream, tf.float32)
    watched = [w.value for w in layer.trainable_variables]

    def outputs_and_gradients(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = layer(inputs)
        sources = watched if inputs.dtype == tf.uint8 else [inputs, *watched]
        return [y, *tape.gradient(y, sources, upstream)]

    with plain_operations():
        eager = outputs_and_gradients(inputs)
    exact = is_exact(layer)
    assert all(gradient is not None for gradient in eager)
    for jit_compile in (False, True):
        compiled = tf.function(outputs_and_gradients, jit_compile=jit_compile, autograph=False)(inputs)
        for actual, expected in zip(compiled, eager, strict=True):
            if exact:
                np.testing.assert_array_equal(actual, expected)
            else:
                np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@each_layer
def test_shape_inference(case):
    layer = case.make()
    inputs = inputs_of(case)
    outputs = layer(inputs)
    assert tuple(layer.compute_output_shape((None, *case.input_shape))) == (None, *outputs.shape[1:])
    assert outputs.dtype == tf.float32


@pytest.mark.slow
@each_layer
def test_fit(case):
    """The layer trains inside `fit`, between others, with the library's loss and optimizer."""
    model = keras.Sequential(
        [
            keras.Input(case.input_shape, dtype=case.input_dtype),
            case.make(),
            keras.layers.Flatten(),
            QDense(2),
            QError(),
        ]
    )
    bits = wage_tf.optimizers.gradient_bits(model)
    model.compile(wage_tf.optimizers.IntegerSGD(1.0, bits, seed=1), wage_tf.losses.SumSquaredError())
    targets = np.eye(2, dtype=np.float32)[np.arange(8) % 2]
    before = model.get_weights()
    inputs = inputs_of(case, 8)
    history = model.fit(inputs, targets, batch_size=4, epochs=2, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    assert_same_bits(model.predict_on_batch(inputs), model(inputs))
    moved = [np.any(a != b) for a, b in zip(model.get_weights(), before, strict=True)]
    assert moved[-1]
    if model.layers[0].trainable_variables:
        assert moved[0]
