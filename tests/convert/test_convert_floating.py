"""quantize_model(fold=False): batch normalization and biases stay in the network as float layers."""

import keras
import numpy as np
import pytest

import wage_tf
from support.float_networks import network, pixels, randomized
from wage_tf import convert, integer
from wage_tf.errors import UserError
from wage_tf.layers import FloatBias, QActivation, QConv2D, QDense, QError, QRescaling
from wage_tf.optimizers import IntegerSGD

layers = keras.layers


def functional(build):
    image = keras.Input((8, 8, 3))
    return randomized(keras.Model(image, build(image), name="net"))


def test_the_layers_of_a_small_cnn():
    converted = wage_tf.quantize_model(network("cnn"), fold=False)
    assert [type(layer) for layer in converted.layers] == [
        layers.InputLayer,
        QRescaling,
        QConv2D,
        layers.BatchNormalization,
        QActivation,
        layers.MaxPooling2D,
        layers.Flatten,
        QDense,
        FloatBias,
        QError,
    ]
    assert converted.get_layer("fc").bias is None
    np.testing.assert_array_equal(converted.get_layer("fc_bias").bias, network("cnn").get_layer("fc").bias)


def test_a_bias_before_batch_normalization_goes_into_its_mean():
    def build(x):
        x = layers.Conv2D(4, 3, name="conv")(layers.Rescaling(1 / 256)(x))
        return layers.Dense(3, use_bias=False)(layers.Flatten()(layers.BatchNormalization(name="bn")(x)))

    model = functional(build)
    converted = wage_tf.quantize_model(model, "8-8-8-8", fold=False)
    assert not any(isinstance(layer, FloatBias) for layer in converted.layers)
    mean, bias = model.get_layer("bn").moving_mean.numpy(), model.get_layer("conv").bias.numpy()
    np.testing.assert_array_equal(converted.get_layer("bn").moving_mean, mean - bias)


def test_settings_of_batch_normalization_are_the_models():
    def build(x):
        x = layers.Conv2D(4, 3, use_bias=False, trainable=False)(layers.Rescaling(1 / 256)(x))
        normalization = layers.BatchNormalization(momentum=0.8, epsilon=0.01, scale=False, trainable=False, name="bn")
        return layers.Dense(3, trainable=False, name="fc")(layers.Flatten()(normalization(x)))

    converted = wage_tf.quantize_model(functional(build), fold=False)
    found = converted.get_layer("bn")
    assert (found.momentum, found.epsilon, found.trainable, found.scale) == (0.8, 0.01, False, True)
    assert not converted.get_layer("fc_bias").trainable


def test_without_bias():
    converted = wage_tf.quantize_model(network("residual"), fold=False, use_bias=False)
    kinds = [type(layer) for layer in converted.layers]
    assert FloatBias not in kinds
    assert kinds.count(layers.BatchNormalization) == 4


def test_a_batch_normalization_in_two_places_is_refused():
    def build(x):
        normalization = layers.BatchNormalization(name="bn")
        x = normalization(layers.Conv2D(3, 1)(x))
        return normalization(layers.Conv2D(3, 1)(x))

    with pytest.raises(UserError, match=r"layer bn: is used twice, .*; give each use its own layer"):
        wage_tf.quantize_model(functional(build), fold=False)


def test_fresh_weights_keep_fresh_batch_normalization():
    converted = wage_tf.quantize_model(network("cnn"), weights="fresh", fold=False)
    (found,) = (layer for layer in converted.layers if isinstance(layer, layers.BatchNormalization))
    for weights, expected in zip(found.get_weights(), (0.5, 0.0, 0.0, 1.0), strict=True):
        np.testing.assert_array_equal(weights, np.full(6, expected, np.float32))
    assert not any(isinstance(layer, FloatBias) for layer in converted.layers)


def test_it_trains_in_both_optimizers_and_survives_a_file(tmp_path):
    model = network("cnn")
    images, labels = pixels(model), np.eye(4)[np.arange(16) % 4]
    converted = wage_tf.quantize_model(model, images=images, fold=False)
    before = {variable.path: variable.numpy() for variable in converted.variables}
    converted.compile(IntegerSGD(1.0, seed=0), convert.loss_for(model))
    converted.train_on_batch(images, labels)
    assert all((variable.numpy() != before[variable.path]).any() for variable in converted.trainable_variables)
    converted.save(tmp_path / "left_in.keras")
    loaded = keras.models.load_model(tmp_path / "left_in.keras")
    np.testing.assert_array_equal(loaded(images), converted(images))


def test_the_integer_graph_says_that_it_has_none():
    with pytest.raises(UserError, match=r"layer .*: BatchNormalization has no integer node"):
        integer.freeze(wage_tf.quantize_model(network("cnn", dtype="uint8"), fold=False))
