"""The layers where Keras users put theirs: Keras' own layer test, one's own layers and models, wrappers, transfer."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src import testing

from support import contracts
from support.tensors import assert_same_bits
from wage_tf.layers import QActivation, QConv2D, QDense, QError, QRescaling
from wage_tf.losses import SumSquaredError
from wage_tf.optimizers import IntegerSGD

pytestmark = pytest.mark.slow
LABELS = np.arange(40) % 10
IMAGES = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1)).astype(np.uint8)[LABELS]
TARGETS = np.eye(10, dtype=np.float32)[LABELS]


@keras.saving.register_keras_serializable("wage_tf_tests")
class Block(keras.layers.Layer):
    """Quantized layers inside of a layer that has no `build` of its own, as Keras users write them."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.convolution = QConv2D(filters, 3)
        self.activation = QActivation()

    def call(self, inputs):
        return self.activation(self.convolution(inputs))

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


@keras.saving.register_keras_serializable("wage_tf_tests")
class Network(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rescaling = QRescaling(1 / 256)
        self.block = Block(4)
        self.flatten = keras.layers.Flatten()
        self.scores = QDense(10)
        self.error = QError()

    def call(self, inputs):
        return self.error(self.scores(self.flatten(self.block(self.rescaling(inputs)))))


def sequential_without_input():
    layers = [QRescaling(1 / 256), QConv2D(4, 3), QActivation(), keras.layers.Flatten(), QDense(10), QError()]
    return keras.Sequential(layers)


def functional_with_a_block():
    inputs = keras.Input((8, 8, 1), dtype="uint8")
    hidden = keras.layers.Flatten()(Block(4)(QRescaling(1 / 256)(inputs)))
    return keras.Model(inputs, QError()(QDense(10)(hidden)))


def over_time():
    layers = keras.layers
    inputs = [layers.Reshape((2, 4, 8)), layers.TimeDistributed(QDense(6)), layers.TimeDistributed(QActivation())]
    return keras.Sequential([QRescaling(1 / 256), *inputs, layers.Flatten(), QDense(10), QError()])


BUILDERS = [Network, sequential_without_input, functional_with_a_block, over_time]
each_model = pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)


def compiled(model, **options):
    model.compile(IntegerSGD(8.0, 8, seed=1), SumSquaredError(), **options)
    return model


FIRST_OF_EACH_CLASS = {type(case.make()): case for case in reversed(contracts.LAYERS)}.values()


@pytest.mark.parametrize("case", FIRST_OF_EACH_CLASS, ids=lambda case: case.name)
def test_keras_own_layer_test(case):
    """Of each class once; test_contracts.py saves, loads and trains it with every kind of argument."""
    layer = case.make()
    inputs = contracts.inputs_of(case)
    testing.TestCase().run_layer_test(
        type(layer),
        init_kwargs={name: value for name, value in layer.get_config().items() if name != "name"},
        input_data=tf.constant(inputs),
        expected_output_shape=tuple(layer(inputs).shape),
        expected_num_trainable_weights=len(layer.trainable_weights),
        expected_num_non_trainable_weights=0,
        expected_num_seed_generators=0,
        expected_num_losses=0,
        run_mixed_precision_check=False,
    )


def fitted(build, **options):
    """A compiled model whose first call is `fit`, by which it learns."""
    model = compiled(build(), **options)
    losses = model.fit(IMAGES, TARGETS, batch_size=4, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    return model


@each_model
def test_compiled_by_xla_fit_is_the_first_call(build):
    fitted(build, jit_compile=True)


@each_model
@pytest.mark.parametrize("method", ["__call__", "predict", "evaluate", "predict_on_batch"])
def test_another_method_is_the_first_call(build, method):
    model = compiled(build())
    first = getattr(model, method)(IMAGES, TARGETS) if method == "evaluate" else getattr(model, method)(IMAGES)
    again = build()
    again(IMAGES)
    again.set_weights(model.get_weights())
    if method != "evaluate":
        assert_same_bits(first, again(IMAGES))


@each_model
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_first_call_is_inside_a_function(build, jit_compile):
    model = build()
    function = tf.function(lambda images: model(images), jit_compile=jit_compile, autograph=False)
    scores = function(tf.constant(IMAGES))
    assert_same_bits(scores, model(IMAGES))
    assert_same_bits(function(tf.constant(IMAGES)), scores)


@each_model
def test_fit_is_the_first_call_then_save_and_load(build, tmp_path):
    model = fitted(build)
    scores = np.asarray(model(IMAGES))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_bits(loaded(IMAGES), scores)
    for network in (model, loaded):
        network.fit(IMAGES, TARGETS, batch_size=4, verbose=0, shuffle=False)
    assert_same_bits(loaded(IMAGES), model(IMAGES))
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = build()
    fresh(IMAGES)
    fresh.load_weights(tmp_path / "model.weights.h5")
    assert_same_bits(fresh(IMAGES), model(IMAGES))


@each_model
def test_saved_model(build, tmp_path):
    model = build()
    scores = np.asarray(model(IMAGES))
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    assert_same_bits(loaded.serve(IMAGES), scores)


@pytest.mark.parametrize("build", BUILDERS[1:], ids=lambda build: build.__name__)
def test_clone(build):
    model = build()
    model(IMAGES)
    clone = keras.models.clone_model(model)
    clone(IMAGES)
    assert any(np.any(a != b) for a, b in zip(clone.get_weights(), model.get_weights(), strict=True))
    clone.set_weights(model.get_weights())
    assert_same_bits(clone(IMAGES), model(IMAGES))


def test_transfer_with_frozen_layers(tmp_path):
    trained = compiled(functional_with_a_block())
    trained.fit(IMAGES, TARGETS, verbose=0)
    trunk = keras.Model(trained.input, trained.layers[-3].output)
    trunk.trainable = False
    model = compiled(keras.Sequential([trunk, QDense(10, name="head"), QError()]))
    frozen = trunk.get_weights()
    losses = model.fit(IMAGES, TARGETS, batch_size=4, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for before, after in zip(frozen, trunk.get_weights(), strict=True):
        assert_same_bits(after, before)
    model.save(tmp_path / "model.keras")
    assert_same_bits(keras.saving.load_model(tmp_path / "model.keras")(IMAGES), model(IMAGES))
    trunk.trainable = True
    compiled(model).fit(IMAGES, TARGETS, verbose=0)
    assert all(np.any(before != after) for before, after in zip(frozen, trunk.get_weights(), strict=True))
