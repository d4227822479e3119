"""What every public class of wage_tf must fulfil, written once; test_contracts.py runs it over all of them.

A new public class gets a line in CASES (a layer with its input) and nothing else.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import wage_tf
from support.tensors import assert_same_bits, plain_operations

MODULES = ("layers", "losses", "metrics", "initializers", "constraints", "optimizers")


@dataclasses.dataclass
class Case:
    """One way to construct a public class; layers also say what they take."""

    name: str
    make: Callable
    input_shape: tuple = ()
    input_dtype: str = "float32"


layers = wage_tf.layers
LAYERS = [
    Case("QConv2D", lambda: layers.QConv2D(4, 3, padding="same"), (6, 6, 3)),
    Case(
        "QConv2D-arguments",
        lambda: layers.QConv2D(
            5, (3, 2), strides=2, bits="4-8-12-f", beta=1.5, factor=2.0, alpha=4.0, use_bias=True, activation="relu"
        ),
        (7, 7, 2),
    ),
    Case("QConv2D-float", lambda: layers.QConv2D(4, 3, bits="f-f-f-f"), (6, 6, 3)),
    Case(
        "QConv2D-initializer",
        lambda: layers.QConv2D(
            4,
            3,
            kernel_initializer=wage_tf.initializers.ClampedUniform("2-8-8-8", seed=3),
            kernel_constraint=wage_tf.constraints.ClipToGrid(8),
        ),
        (6, 6, 3),
    ),
    Case("QDepthwiseConv2D", lambda: layers.QDepthwiseConv2D(3, padding="same"), (6, 6, 3)),
    Case(
        "QDepthwiseConv2D-arguments",
        lambda: layers.QDepthwiseConv2D(
            (3, 2), depth_multiplier=2, dilation_rate=2, bits="8-4-8-8", alpha=2.0, use_bias=True, activation="relu"
        ),
        (7, 7, 2),
    ),
    Case("QDense", lambda: layers.QDense(7), (12,)),
    Case("QDense-arguments", lambda: layers.QDense(3, bits="1-4-8-8", use_bias=True, activation="tanh"), (5, 12)),
    Case("FloatBias", lambda: layers.FloatBias(), (6, 6, 3)),
    Case("FloatBias-initializer", lambda: layers.FloatBias(keras.initializers.Constant(0.5)), (5,)),
    Case("QActivation", lambda: layers.QActivation(), (6, 5)),
    Case("QActivation-linear", lambda: layers.QActivation("2-4-8-f", activation=None), (6, 5)),
    Case("QActivation-tanh", lambda: layers.QActivation(wage_tf.BitWidths(2, 6, 8, 6), activation="tanh"), (6, 5)),
    Case("QActivation-float", lambda: layers.QActivation("2-f-8-8"), (6, 5)),
    Case("QGlobalMaxPooling2D", lambda: layers.QGlobalMaxPooling2D(), (5, 4, 3)),
    Case("QGlobalMaxPooling2D-keepdims", lambda: layers.QGlobalMaxPooling2D(keepdims=True), (5, 4, 3)),
    Case("QError", lambda: layers.QError("2-8-8-4"), (6, 5)),
    Case("QRescaling", lambda: layers.QRescaling(1 / 128, -1.0), (6, 6, 3), "uint8"),
    Case("QRescaling-grey", lambda: layers.QRescaling(1 / 256, bits="2-4-8-8"), (6, 6, 1), "uint8"),
]
OTHERS = [
    Case("SumSquaredError", lambda: wage_tf.losses.SumSquaredError()),
    Case("SumSquaredError-mean", lambda: wage_tf.losses.SumSquaredError("mean", name="sse")),
    Case("ErrorRate", lambda: wage_tf.metrics.ErrorRate()),
    Case("ReconstructionError", lambda: wage_tf.metrics.ReconstructionError()),
    Case("ReconstructionError-name", lambda: wage_tf.metrics.ReconstructionError(name="test_error")),
    Case("ErrorRate-name", lambda: wage_tf.metrics.ErrorRate(name="test_error")),
    Case("ClampedUniform", lambda: wage_tf.initializers.ClampedUniform()),
    Case("ClampedUniform-arguments", lambda: wage_tf.initializers.ClampedUniform("4-8-8-8", 1.5, 2.0, seed=4)),
    Case("DepthwiseUniform", lambda: wage_tf.initializers.DepthwiseUniform("8-8-8-8", 1.5, 2.0, seed=4)),
    Case("ClipToGrid", lambda: wage_tf.constraints.ClipToGrid(2)),
    Case("ClipToRange", lambda: wage_tf.constraints.ClipToRange(8.0)),
    Case("IntegerSGD", lambda: wage_tf.optimizers.IntegerSGD(8.0, seed=5)),
    Case("IntegerSGD-float", lambda: wage_tf.optimizers.IntegerSGD(0.01, None)),
    Case(
        "IntegerSGD-arguments",
        lambda: wage_tf.optimizers.IntegerSGD(
            keras.optimizers.schedules.PiecewiseConstantDecay([10, 20], [8.0, 1.0, 0.125]),
            {"a/kernel": 8, "b/kernel": None},
            seed=6,
            random_width=12,
            name="wage",
        ),
    ),
]
CASES = LAYERS + OTHERS


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


def inputs_of(case, batch=4, seed=0):
    numbers = np.random.default_rng(seed)
    shape = (batch, *case.input_shape)
    if case.input_dtype == "uint8":
        return numbers.integers(0, 256, shape).astype(np.uint8)
    return (numbers.integers(-160, 161, shape) / 128).astype(np.float32)


def is_exact(layer):
    """Whether every mode must give the same bits: the values are integers times a power of two."""
    activation = getattr(layer, "activation", None)
    on_grid = activation in (None, keras.activations.linear, keras.activations.relu)
    return on_grid and (not hasattr(layer, "bits") or layer.bits.w is not None)


def plain_config(value):
    """A configuration as JSON holds it: tuples become lists."""
    return json.loads(json.dumps(value))


def check_documentation(cls):
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


def check_registered(cls):
    assert keras.saving.get_registered_name(cls) == f"wage_tf>{cls.__name__}"
    assert keras.saving.get_registered_object(f"wage_tf>{cls.__name__}") is cls


def check_config_round_trip(case):
    first = case.make()
    config = first.get_config()
    text = json.dumps(config)
    second = type(first).from_config(json.loads(text))
    assert type(second) is type(first)
    assert plain_config(second.get_config()) == plain_config(config)


def check_serialization(case):
    first = case.make()
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(first)))
    assert serialized["registered_name"] == f"wage_tf>{type(first).__name__}"
    second = keras.saving.deserialize_keras_object(serialized)
    assert type(second) is type(first)
    assert plain_config(second.get_config()) == plain_config(first.get_config())


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


STYLES = {"sequential": sequential, "functional": functional, "subclassed": subclassed}


def check_save_and_load(case, style, path):
    model = STYLES[style](case)
    inputs = inputs_of(case)
    expected = np.asarray(model(inputs))
    model.save(path)
    loaded = keras.saving.load_model(path)
    assert_same_bits(loaded(inputs), expected)
    for actual, weight in zip(loaded.get_weights(), model.get_weights(), strict=True):
        assert_same_bits(actual, weight)
    for actual, layer in zip(loaded._flatten_layers(), model._flatten_layers(), strict=True):
        assert getattr(actual, "alpha", None) == getattr(layer, "alpha", None)
        assert getattr(actual, "bits", None) == getattr(layer, "bits", None)


def check_styles_agree(case):
    """The same layer in Sequential, functional and subclassed models gives the same outputs."""
    models = [build(case) for build in STYLES.values()]
    inputs = inputs_of(case)
    expected = np.asarray(models[0](inputs))
    for model in models[1:]:
        model.set_weights(models[0].get_weights())
        assert_same_bits(model(inputs), expected)


def check_modes_agree(case):
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


def check_shape_inference(case):
    layer = case.make()
    inputs = inputs_of(case)
    outputs = layer(inputs)
    assert tuple(layer.compute_output_shape((None, *case.input_shape))) == (None, *outputs.shape[1:])
    assert outputs.dtype == tf.float32


def check_fit(case):
    """The layer trains inside `fit`, between others, with the library's loss and optimizer."""
    model = keras.Sequential(
        [
            keras.Input(case.input_shape, dtype=case.input_dtype),
            case.make(),
            keras.layers.Flatten(),
            layers.QDense(2),
            layers.QError(),
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
