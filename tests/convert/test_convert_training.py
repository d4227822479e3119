"""A network that was trained in float32 goes on as integers: the way from a Keras user's model to a WAGE run."""

import functools
import warnings

import keras
import numpy as np
import pytest

import wage_tf
from support.float_networks import network, pixels
from support.tensors import plain_operations
from wage_tf import convert
from wage_tf.datasets import Dataset
from wage_tf.errors import UserError
from wage_tf.layers import FloatBias, QActivation, QDense, QError, QRescaling
from wage_tf.losses import SumSquaredError
from wage_tf.optimizers import IntegerSGD

layers = keras.layers
SPARSE = keras.losses.SparseCategoricalCrossentropy


def perceptron():
    """With batch normalization and the scaling of its pixels, as Keras users write it."""
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Rescaling(1 / 255), layers.Flatten()])
    for _ in range(2):
        model.add(layers.Dense(256, use_bias=False))
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.ReLU())
    model.add(layers.Dense(10, activation="softmax"))
    return model


def parts(images, labels):
    """1,400 digits to train with and 397 to test with: images and labels of both."""
    order = np.random.default_rng(0).permutation(len(images))
    return [(images[chosen], labels[chosen]) for chosen in (order[:1400], order[1400:])]


def error(model, images, labels):
    """Percent of the images."""
    with plain_operations():
        return 100 * np.mean(np.argmax(model(images), -1) != labels.argmax(-1))


@pytest.fixture(scope="module")
def float_network(digits):
    """The perceptron trained for 12 epochs, by its seed."""

    @functools.cache
    def trained(seed):
        keras.utils.set_random_seed(seed)
        model = perceptron()
        model.compile("adam", "categorical_crossentropy")
        model.fit(*parts(*digits)[0], batch_size=32, epochs=12, verbose=0)
        return model

    return trained


def errors_of_digits(model, images, labels):
    """Test errors in percent: the float network's, that of its 8 bits at once and of its 2 bits after three epochs.

    The last is that of 2 bits with batch normalization and the last bias left in, after three epochs.
    """
    train, test = parts(images, labels)
    wide, narrow, left_in = (
        wage_tf.quantize_model(model, bits, images=train[0], fold=fold)
        for bits, fold in (("8-8-8-8", True), ("2-8-8-8", True), ("2-8-8-8", False))
    )
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([88], [1.0, 0.25])
    for converted in (narrow, left_in):
        converted.compile(IntegerSGD(rate, seed=0), convert.loss_for(model))
        converted.fit(*train, batch_size=32, epochs=3, verbose=0)
    return [error(each, *test) for each in (model, wide, narrow, left_in)]


@pytest.mark.slow
def test_three_epochs_at_2_bits_reach_the_float_networks_error_and_8_bits_have_it_at_once(digits, float_network):
    """On average over three networks: an image more or less of the 397 is a quarter of a percent."""
    errors = np.array([errors_of_digits(float_network(seed), *digits) for seed in (2018, 1, 2)])
    floats, wide, narrow, left_in = errors.T
    assert floats.max() < 4
    assert (wide <= floats + 0.5).all()
    assert narrow.mean() <= floats.mean() + 0.5
    assert left_in.mean() <= floats.mean() + 1


@pytest.mark.slow
def test_bias_and_batch_normalization_in_float_reach_a_float_networks_error(digits, float_network):
    """The same network composed of wage_tf's layers, from fresh weights: 12 epochs as the float one's."""
    train, test = parts(*digits)
    model = keras.Sequential([keras.Input((8, 8, 1), dtype="uint8"), QRescaling(1 / 256), layers.Flatten()])
    for _ in range(2):
        model.add(QDense(256))
        model.add(layers.BatchNormalization(momentum=0.9, gamma_initializer=keras.initializers.Constant(0.5)))
        model.add(QActivation())
    for layer in (QDense(10), FloatBias(), QError()):
        model.add(layer)
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([264, 396], [8.0, 2.0, 0.5])
    model.compile(IntegerSGD(rate, seed=0), SumSquaredError())
    model.fit(*train, batch_size=32, epochs=12, verbose=0)
    assert error(model, *test) <= error(float_network(2018), *test) + 1


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["2-8-8-8", "8-8-8-8", "2-8-f-f"])
def test_a_step_of_training_keeps_stored_weights_on_their_grid(bits):
    model = network("residual")
    images = pixels(model, 8)
    with plain_operations():
        converted = wage_tf.quantize_model(model, bits, images=images)
        before = [layer.kernel.numpy() for layer in converted.layers if hasattr(layer, "alpha")]
        converted.compile(IntegerSGD(1.0 if "f" not in bits else 1e-3, bits=bits, seed=0), convert.loss_for(model))
        converted.train_on_batch(images, np.eye(3)[np.arange(8) % 3])
    after = [layer.kernel.numpy() for layer in converted.layers if hasattr(layer, "alpha")]
    assert all((old != new).any() for old, new in zip(before, after, strict=True))
    if "f" not in bits:
        assert all((kernel * 128 == np.round(kernel * 128)).all() for kernel in after)


def classifier(activation, loss):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, activation=activation)])
    model.compile(loss=loss)
    return model


class OwnLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return y_pred


class OwnEntropy(SPARSE):
    pass


@pytest.mark.parametrize(
    ("activation", "loss", "expected"),
    [
        ("softmax", None, keras.losses.CategoricalCrossentropy),
        ("softmax", "categorical_crossentropy", keras.losses.CategoricalCrossentropy),
        ("softmax", "sparse_categorical_crossentropy", SPARSE),
        ("softmax", ["sparse_categorical_crossentropy"], SPARSE),
        ("softmax", SPARSE(name="xent"), SPARSE),
        (None, SPARSE(from_logits=True), SPARSE),
        (None, keras.losses.categorical_crossentropy, keras.losses.CategoricalCrossentropy),
        ("sigmoid", None, keras.losses.BinaryCrossentropy),
        ("sigmoid", SPARSE(), SPARSE),
        (None, "binary_crossentropy", keras.losses.BinaryCrossentropy),
        (None, "mse", SumSquaredError),
        (None, keras.losses.MeanSquaredError(), SumSquaredError),
        (None, SumSquaredError(), SumSquaredError),
        (None, None, SumSquaredError),
    ],
)
def test_the_loss_takes_over_what_is_taken_off_the_end(activation, loss, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = convert.loss_for(classifier(activation, loss))
    assert type(found) is expected
    assert found.reduction == "sum"
    assert expected is SumSquaredError or found.from_logits


@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        (keras.losses.CategoricalCrossentropy(label_smoothing=0.1), {"label_smoothing": 0.1}),
        (SPARSE(ignore_class=1), {"ignore_class": 1}),
        (keras.losses.CategoricalFocalCrossentropy(alpha=0.5, gamma=3.0), {"alpha": 0.5, "gamma": 3.0}),
    ],
)
def test_the_settings_of_an_entropy_are_kept(loss, settings):
    found = convert.loss_for(classifier("softmax", loss))
    assert type(found) is type(loss)
    assert found.get_config().items() >= {**settings, "from_logits": True, "reduction": "sum"}.items()


@pytest.mark.parametrize(
    ("activation", "loss", "expected"),
    [
        ("softmax", "mse", keras.losses.CategoricalCrossentropy),
        ("softmax", "binary_crossentropy", keras.losses.CategoricalCrossentropy),
        ("softmax", OwnEntropy(), SPARSE),
        ("sigmoid", OwnLoss(), keras.losses.BinaryCrossentropy),
        (None, "mae", SumSquaredError),
    ],
)
def test_a_loss_that_is_not_taken_over_gets_a_warning(activation, loss, expected):
    with pytest.warns(
        UserWarning, match=f"loss: the model's .* is not taken over; {expected.__name__} stands in"
    ) as seen:
        assert type(convert.loss_for(classifier(activation, loss))) is expected
    assert len(seen) == 1


def test_the_loss_of_the_converted_network_is_the_models():
    model = network("cnn")
    model.compile(loss="categorical_crossentropy")
    images, labels = pixels(model), np.eye(4)[np.arange(16) % 4]
    converted = wage_tf.quantize_model(model, "f-f-f-f", images=images)
    converted.compile(loss=convert.loss_for(model))
    wanted = 16 * model.evaluate(images, labels, batch_size=16, verbose=0)
    np.testing.assert_allclose(converted.evaluate(images, labels, batch_size=16, verbose=0), wanted, rtol=1e-4)


class TestQuantizeFor:
    """What `train.py --from` needs: a model for a data set."""

    def data(self, shape=(8, 8, 3), classes=4):
        images = np.random.default_rng(0).integers(0, 256, (64, *shape)).astype(np.uint8)
        return Dataset.from_arrays("own", images, np.arange(64) % classes)

    @pytest.mark.slow
    def test_calibrates_with_the_training_images(self):
        model, data = network("cnn"), self.data()
        converted = convert.quantize_for(data, model, "8-8-8-8", weights="keep", use_bias=False)
        wanted = wage_tf.quantize_model(model, "8-8-8-8", images=data.probe_batch(64)[0], use_bias=False)
        for own, other in zip(converted.get_weights(), wanted.get_weights(), strict=True):
            np.testing.assert_array_equal(own, other)
        converted.compile(IntegerSGD(1.0, seed=0), convert.loss_for(model))
        converted.fit(data.train_batches(16, 1), epochs=1, steps_per_epoch=4, verbose=0)

    def test_images_of_another_size(self):
        with pytest.raises(UserError, match=r"images: the model takes \(None, 8, 8, 3\); received \(64, 8, 8, 1\)"):
            convert.quantize_for(self.data(shape=(8, 8, 1)), network("cnn"))

    def test_another_number_of_classes(self):
        with pytest.raises(UserError, match=r"model net: gives scores of \(4,\), own has 5 classes; give a model of"):
            convert.quantize_for(self.data(classes=5), network("cnn"))
