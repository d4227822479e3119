"""A network that was trained in float32 goes on as integers: the way from a Keras user's model to a WAGE run."""

import keras
import numpy as np
import pytest
from float_networks import network, pixels

import wage_tf
from wage_tf import convert, training
from wage_tf.datasets import Dataset
from wage_tf.errors import UserError
from wage_tf.losses import SumSquaredError
from wage_tf.metrics import ErrorRate
from wage_tf.optimizers import IntegerSGD

layers = keras.layers


def perceptron():
    """With batch normalization and the scaling of its pixels, as Keras users write it."""
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Rescaling(1 / 255), layers.Flatten()])
    for _ in range(2):
        model.add(layers.Dense(128, use_bias=False))
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.ReLU())
    model.add(layers.Dense(10, activation="softmax"))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["2-8-8-8", "8-8-8-8"])
def test_three_epochs_reach_the_float_networks_error(digits, bits):
    images, labels = digits
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:1400], order[1400:]
    model = perceptron()
    model.compile("adam", "categorical_crossentropy", metrics=[ErrorRate()])
    model.fit(images[train], labels[train], batch_size=32, epochs=10, verbose=0)
    float_error = model.evaluate(images[test], labels[test], verbose=0, return_dict=True)["error"]
    assert float_error < 4

    converted = wage_tf.quantize_model(model, bits, images=images[train])
    converted.compile(IntegerSGD(1.0, bits=bits, seed=0), convert.loss_for(model), metrics=[ErrorRate()])
    converted.fit(images[train], labels[train], batch_size=32, epochs=3, verbose=0)
    error = converted.evaluate(images[test], labels[test], verbose=0, return_dict=True)["error"]
    assert error <= float_error + 0.5


@pytest.mark.parametrize("bits", ["2-8-8-8", "8-8-8-8", "2-8-f-f"])
def test_a_step_of_training_keeps_stored_weights_on_their_grid(bits):
    model = network("residual")
    images = pixels(model, 8)
    converted = wage_tf.quantize_model(model, bits, images=images)
    before = [layer.kernel.numpy() for layer in converted.layers if hasattr(layer, "alpha")]
    converted.compile(IntegerSGD(1.0 if "f" not in bits else 1e-3, bits=bits, seed=0), convert.loss_for(model))
    converted.train_on_batch(images, np.eye(3)[np.arange(8) % 3])
    after = [layer.kernel.numpy() for layer in converted.layers if hasattr(layer, "alpha")]
    assert all((old != new).any() for old, new in zip(before, after, strict=True))
    if "f" not in bits:
        assert all((kernel * 128 == np.round(kernel * 128)).all() for kernel in after)


@pytest.mark.parametrize(
    ("activation", "loss", "expected"),
    [
        ("softmax", None, keras.losses.CategoricalCrossentropy),
        ("softmax", "categorical_crossentropy", keras.losses.CategoricalCrossentropy),
        ("softmax", "sparse_categorical_crossentropy", keras.losses.SparseCategoricalCrossentropy),
        (
            None,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            keras.losses.SparseCategoricalCrossentropy,
        ),
        (None, keras.losses.categorical_crossentropy, keras.losses.CategoricalCrossentropy),
        ("sigmoid", None, keras.losses.BinaryCrossentropy),
        (None, "binary_crossentropy", keras.losses.BinaryCrossentropy),
        (None, "mse", SumSquaredError),
        (None, None, SumSquaredError),
    ],
)
def test_the_loss_takes_over_what_is_taken_off_the_end(activation, loss, expected):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, activation=activation)])
    if loss is not None:
        model.compile(loss=loss)
    found = convert.loss_for(model)
    assert type(found) is expected
    assert found.reduction == "sum"
    assert expected is SumSquaredError or found.from_logits


def test_the_loss_of_the_converted_network_is_the_models():
    model = network("cnn")
    model.compile(loss="categorical_crossentropy")
    images, labels = pixels(model), np.eye(4)[np.arange(16) % 4]
    converted = wage_tf.quantize_model(model, "f-f-f-f", images=images)
    converted.compile(loss=convert.loss_for(model))
    wanted = 16 * model.evaluate(images, labels, batch_size=16, verbose=0)
    np.testing.assert_allclose(converted.evaluate(images, labels, batch_size=16, verbose=0), wanted, rtol=1e-4)


class TestBuilder:
    """What takes the place of `models.build`."""

    def test_trains_by_a_recipe(self):
        model = network("cnn")
        data = Dataset.from_arrays("own", pixels(model, 64), np.arange(64) % 4)
        settings = {"dataset": "own", "model": "net", "batch_size": 16, "epochs": 1, "seed": 1, "schedule": "1@0"}
        config = training.configure(data, training.recipes.get("own"), settings)
        build = convert.builder(model, images=data.probe_batch(32)[0])
        prepared = training.prepare(config, data, build)
        wanted = wage_tf.quantize_model(model, "2-8-8-8", images=data.probe_batch(32)[0])
        for own, other in zip(prepared.get_weights(), wanted.get_weights(), strict=True):
            np.testing.assert_array_equal(own, other)
        prepared.fit(data.train_batches(16, 1), epochs=1, steps_per_epoch=4, verbose=0)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (((8, 8, 1), 4), r"model net: its images are \(8, 8, 3\), the data's are \(8, 8, 1\); give a model"),
            (((8, 8, 3), 10), r"model net: its scores are \(4,\), the data's are \(10,\); give a model of that shape"),
            (((8, 8, 3), 4, 0.5), "model net: a converted network keeps its own width and options; received width=0.5"),
        ],
    )
    def test_refuses_what_does_not_fit(self, arguments, message):
        with pytest.raises(UserError, match=message):
            convert.builder(network("cnn"))("net", "2-8-8-8", *arguments)

    def test_refuses_options_of_the_papers_networks(self):
        with pytest.raises(UserError, match=r"received width=1, beta=1.5"):
            convert.builder(network("cnn"))("net", "2-8-8-8", (8, 8, 3), 4, beta=1.5)
