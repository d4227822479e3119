"""From training to the device: a network of every kind of node, and one of signals with one dimension."""

import shutil

import keras
import numpy as np
import pytest

import wage_tf
from support.drawn_networks import every_kind
from support.images import random_images
from wage_tf import integer
from wage_tf.integer.nodes import KINDS, Identity
from wage_tf.integer.readers import READERS
from wage_tf.layers import QActivation, QConv2D, QDense, QError, QRescaling

pytest.importorskip("ai_edge_litert")
deployed = pytest.importorskip("support.deployed")
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None or shutil.which("make") is None, reason="needs gcc, make")


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(1)


@pytest.mark.slow
def test_every_kind_of_node(tmp_path):
    model = every_kind()
    assert {type(node) for node in integer.freeze(model).nodes} == set(KINDS.values()) - {Identity}
    inference_only = {kind for kind in READERS if kind.__name__.startswith(("Random", "Gaussian"))}
    inference_only |= {keras.layers.Dropout, keras.layers.SpatialDropout2D, keras.layers.GlobalMaxPooling2D}
    assert {type(layer) for layer in model.layers} - {keras.layers.InputLayer} == set(READERS) - inference_only
    images = random_images((7, 7, 2), 20)
    comparison = wage_tf.verify(model, images, np.arange(20) % 4, steps=5, batch_size=4)
    assert comparison.equal, comparison
    assert comparison.steps.done == 5
    assert not {(row.layer, row.operand) for row in comparison.rows.values() if row.low == row.high == 0}
    deployed.assert_equal_in_every_form(tmp_path, model, images)


@pytest.mark.slow
def test_a_convolution_of_one_dimension_is_one_of_height_1(tmp_path):
    signal = keras.Input((24, 2), dtype="uint8")
    x = keras.layers.Reshape((1, 24, 2))(QRescaling(1 / 128, -1.0)(signal))
    x = QActivation()(QConv2D(6, (1, 5), padding="same", strides=2, bits="8-8-8-8")(x))
    x = QActivation()(QConv2D(6, (1, 3), padding="same", dilation_rate=(1, 2), bits="8-8-8-8")(x))
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D((1, 2))(x))
    model = keras.Model(signal, QError()(QDense(3, bits="8-8-8-8")(x)))
    signals, labels = random_images((24, 2), 20), np.arange(20) % 3
    model.compile(wage_tf.optimizers.IntegerSGD(8.0, 8, seed=0), wage_tf.losses.SumSquaredError())
    model.fit(signals, np.eye(3, dtype=np.float32)[labels], batch_size=5, epochs=2, verbose=0)
    comparison = wage_tf.verify(model, signals, labels, steps=5, batch_size=4)
    assert comparison.equal, comparison
    deployed.assert_equal_in_every_form(tmp_path, model, signals)
