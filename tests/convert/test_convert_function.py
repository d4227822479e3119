"""The converted network computes what the model computed, up to the rounding of float32 or of its grids."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import wage_tf
from support.float_networks import NETWORKS, network, pixels, randomized
from support.tensors import plain_operations
from wage_tf import integer
from wage_tf.layers import QActivation, QConv2D, QDense, QError, QRescaling
from wage_tf.losses import SumSquaredError
from wage_tf.optimizers import IntegerSGD


def scores(model, images):
    """Outputs of a model before its softmax or sigmoid, those before a softmax with a mean of 0."""
    outputs = np.asarray(model(images), np.float64)
    config = str(model.layers[-1].get_config())
    if "softmax" in config or "Softmax" in str(type(model.layers[-1])):
        outputs = np.log(outputs)
    return np.log(outputs / (1 - outputs)) if "sigmoid" in config else outputs


def assert_close(actual, wanted, tolerance):
    if not np.allclose(wanted.sum(-1), 0) and np.allclose(np.exp(wanted).sum(-1), 1):
        actual, wanted = (each - each.mean(-1, keepdims=True) for each in (actual, wanted))
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.slow
@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_the_models_own(name, fold):
    """At 16 bits the grids are in place: exponents, α and biases must fit, or scores would be off by powers of two."""
    model = network(name)
    images = pixels(model)
    wanted = scores(model, images)
    with plain_operations():
        for bits, tolerance in (("f-f-f-f", 1e-4), ("16-16-16-16", 0.01)):
            converted = wage_tf.quantize_model(model, bits, images=images, fold=fold)
            assert_close(scores(converted, images), wanted, tolerance)
    assert any(layer.alpha != 1 for layer in converted.layers if hasattr(layer, "alpha"))


@pytest.mark.parametrize("name", ["normalized", "residual"])
@pytest.mark.parametrize("bits", ["8-8-8-8", "2-8-8-8"])
def test_stored_weights_are_on_the_grid_that_training_updates(name, bits):
    model = network(name)
    converted = wage_tf.quantize_model(model, bits, images=pixels(model))
    limit = 0.5 if bits.startswith("2") else 127 / 128
    for layer in converted.layers:
        if isinstance(layer, (QConv2D, QDense)):
            codes = layer.kernel.numpy() * 128
            np.testing.assert_array_equal(codes, np.round(codes))
            assert limit / 2 < np.abs(layer.kernel.numpy()).max() <= limit


def test_kernels_fill_the_grid_and_activations_do_not_saturate():
    model = network("cnn")
    images = pixels(model, 64)
    converted = wage_tf.quantize_model(model, "8-8-8-8", images=images)
    assert np.abs(converted.get_layer("conv").kernel.numpy()).max() > 0.5
    hidden = np.asarray(keras.Model(converted.inputs, converted.get_layer("pool").output)(images))
    assert 0.25 < hidden.max() <= 127 / 128
    assert np.mean(hidden == 127 / 128) < 0.02


def test_a_chain_is_proven_in_integers_and_goes_on_training_there():
    """The stored kernels and biases are integers that the engine and IntegerSGD move alike."""
    model = network("cnn", dtype="uint8")
    images = pixels(model)
    converted = wage_tf.quantize_model(model, "2-8-8-8", images=images)
    graph = integer.freeze(converted)
    wanted = converted.predict(images, verbose=0)
    codes = integer.infer(graph, images)
    scale = wanted[codes != 0][0] / codes[codes != 0][0]
    assert np.log2(scale) == np.round(np.log2(scale))
    np.testing.assert_array_equal(codes * scale, wanted)

    labels = np.arange(len(images)) % 4
    converted.compile(IntegerSGD(2.0, bits=8, seed=3), SumSquaredError())
    converted.train_on_batch(images, keras.utils.to_categorical(labels, 4))
    trained = integer.train_step(graph, images, labels, log2_eta=1, seed=3, step=0)
    kernels = [node.kernel.accumulators for node in trained.nodes if hasattr(node, "kernel")]
    for layer, accumulators in zip((converted.get_layer("conv"), converted.get_layer("fc")), kernels, strict=True):
        np.testing.assert_array_equal(layer.kernel.numpy() * 128, accumulators)


def open_ended(build):
    image = keras.Input((8, 8, 3), dtype="uint8")
    h = keras.layers.Conv2D(6, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    model = randomized(keras.Model(image, build(h), name="net"))
    model.set_weights([4 * each for each in model.get_weights()])
    return model


@pytest.mark.parametrize(
    "build",
    [
        lambda h: keras.layers.Dense(3, activation="relu")(keras.layers.Flatten()(h)),
        lambda h: keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3, activation="relu6")(h)),
        lambda h: keras.layers.Add()([keras.layers.Conv2D(6, 1, activation="relu")(h), keras.layers.Conv2D(6, 1)(h)]),
    ],
)
def test_scores_keep_their_scale_where_no_kernel_ends_the_model(build):
    """A ReLU behind the last kernel is not rounded: no kernel follows that could scale its values back."""
    model = open_ended(build)
    images = pixels(model)
    wanted = np.asarray(model(images))
    assert wanted.max() > 2
    converted = wage_tf.quantize_model(model, "8-8-8-8", images=images)
    np.testing.assert_allclose(converted(images), wanted, rtol=0, atol=0.03 * np.abs(wanted).max())


@pytest.mark.slow
def test_a_relu_at_the_end_trains_in_integers():
    model = open_ended(lambda h: keras.layers.Dense(4, activation="relu")(keras.layers.Flatten()(h)))
    images = pixels(model)
    converted = wage_tf.quantize_model(model, "2-8-8-8", images=images)
    assert [type(layer) for layer in converted.layers[-2:]] == [keras.layers.ReLU, QError]
    converted.compile(IntegerSGD(1.0, bits=8, seed=0), SumSquaredError())
    report = wage_tf.verify(converted, images, np.arange(16) % 4)
    assert "EQUAL" in str(report)


def test_activations_that_meet_the_pixels_are_not_clipped():
    """Both have one exponent then: QRescaling takes it up."""
    image = keras.Input((8, 8, 3))
    p = keras.layers.Rescaling(1 / 255)(image)
    h = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(p)
    model = randomized(
        keras.Model(image, keras.layers.Dense(4)(keras.layers.Flatten()(keras.layers.Concatenate()([p, h]))))
    )
    images = pixels(model)
    wanted = np.asarray(model(images))
    assert np.asarray(keras.Model(image, h)(images)).max() > 2
    for bits, tolerance in (("8-8-8-8", 0.05), ("16-16-16-16", 0.001)):
        converted = wage_tf.quantize_model(model, bits, images=images)
        assert converted.get_layer("rescale").scale < 1 / 256
        np.testing.assert_allclose(converted(images), wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def test_fresh_weights_are_wages_and_have_no_bias():
    model = network("residual")
    converted = wage_tf.quantize_model(model, "2-8-8-8", weights="fresh")
    products = [layer for layer in converted.layers if isinstance(layer, (QConv2D, QDense))]
    assert len(products) == 7
    for layer in products:
        assert not layer.use_bias
        assert set(np.unique(layer.kernel.numpy())) <= {-0.5, 0.0, 0.5}
    assert not any("bias" in variable.path for variable in converted.weights)


def test_every_product_reads_from_the_grid():
    """Also behind averages, sums and other products, where the model has no ReLU."""
    for name in ("normalization after relu", "residual", "linear bottleneck"):
        model = network(name)
        converted = wage_tf.quantize_model(model, "8-8-8-8", images=pixels(model))
        products = [layer for layer in converted.layers if isinstance(layer, (QConv2D, QDense))]
        outputs = keras.Model(converted.inputs, [layer.input for layer in products])(pixels(model))
        for values in outputs:
            codes = np.asarray(values) * 128
            np.testing.assert_array_equal(codes, np.round(codes))
            assert np.abs(codes).max() <= 127


@pytest.mark.parametrize("targets", [(), (np.zeros(20),), (np.zeros(20), np.ones(20))])
def test_images_may_be_a_dataset(targets):
    model = network("normalized")
    images = pixels(model, 20)
    dataset = tf.data.Dataset.from_tensor_slices((images, *targets) if targets else images).batch(8)
    found = wage_tf.quantize_model(model, images=dataset)
    expected = wage_tf.quantize_model(model, images=images)
    for weight, wanted in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, wanted)


def test_the_caller_keeps_the_model():
    model = network("nested")
    model.compile("adam", "categorical_crossentropy")
    images = pixels(model)
    before, config, weights = model.predict(images, verbose=0), model.get_config(), model.get_weights()
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    wage_tf.quantize_model(model, images=images)
    assert model.get_config() == config
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(model.predict(images, verbose=0), before)
    model.train_on_batch(images, np.eye(3)[np.arange(len(images)) % 3])


def test_two_conversions_are_the_same_and_survive_a_file(tmp_path):
    model = network("residual")
    images = pixels(model)
    converted, again = (wage_tf.quantize_model(model, "2-8-8-8") for _ in range(2))
    converted.save(tmp_path / "converted.keras")
    loaded = keras.models.load_model(tmp_path / "converted.keras")
    np.testing.assert_array_equal(again(images), converted(images))
    np.testing.assert_array_equal(loaded(images), converted(images))


def test_the_layers_of_a_small_cnn():
    converted = wage_tf.quantize_model(network("cnn"))
    kinds = [type(layer) for layer in converted.layers]
    assert kinds == [
        keras.layers.InputLayer,
        QRescaling,
        QConv2D,
        QActivation,
        keras.layers.MaxPooling2D,
        keras.layers.Flatten,
        QDense,
        QError,
    ]
    assert (converted.layers[1].scale, converted.layers[1].offset) == (1 / 256, 0.0)
    assert converted.get_layer("conv").use_bias
    assert converted.name == "net"


@pytest.mark.parametrize(
    ("rescaling", "images", "expected"),
    [
        (keras.layers.Rescaling(1 / 255), None, (1 / 256, 0.0)),
        (keras.layers.Rescaling(1 / 127.5, offset=-1), None, (1 / 128, -1.0)),
        (keras.layers.Normalization(mean=3.0, variance=4.0), None, (1 / 128, -1.0)),
        (None, np.full((1, 8, 8, 3), 1.0), (1.0, 0.0)),
        (None, np.linspace(-3, 2, 192).reshape(1, 8, 8, 3), (1 / 4, 0.0)),
        (None, np.full((1, 8, 8, 3), 255.0), (1 / 256, 0.0)),
        (None, np.full((1, 8, 8, 3), 60.0), (1 / 256, 0.0)),  # whole numbers: a dark image
        (None, np.full((1, 8, 8, 3), 60.5), (1 / 64, 0.0)),
    ],
)
def test_pixels_are_rescaled_by_a_power_of_two(rescaling, images, expected):
    parts = [keras.layers.Flatten(), keras.layers.Dense(2)]
    model = randomized(keras.Sequential([keras.Input((8, 8, 3)), *([] if rescaling is None else [rescaling]), *parts]))
    converted = wage_tf.quantize_model(model, "f-f-f-f", images=images)
    rescale = converted.get_layer("rescale")
    assert (rescale.scale, rescale.offset) == expected
    inputs = pixels(model, 4) / 255.0 if images is None else images
    np.testing.assert_allclose(converted(inputs), model(inputs), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("bits", "is_narrow"), [("8-8-8-8", True), ("16-16-16-16", False), ("f-f-f-f", False)])
@pytest.mark.parametrize("weights", ["keep", "fresh"])
def test_columns_of_which_the_grid_keeps_little_get_a_warning(bits, weights, is_narrow):
    columns = np.random.default_rng(0).uniform(0, [1600.0, 900.0, 3.0, 1.0], (64, 4))
    normalization = keras.layers.Normalization(mean=columns.mean(0), variance=columns.var(0))
    model = keras.Sequential([keras.Input((4,)), normalization, keras.layers.Dense(8, "relu"), keras.layers.Dense(2)])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        wage_tf.quantize_model(model, bits, images=columns, weights=weights)
    wanted = ["images: 2 of 4 channels, 2 the first, have fewer than 8 codes on the grid that all share; normalize in"]
    assert [str(each.message)[: len(wanted[0])] for each in seen] == wanted * is_narrow


@pytest.mark.parametrize("first", [keras.layers.Rescaling(1 / 16), keras.layers.Normalization(mean=3.0, variance=99.0)])
def test_blank_borders_get_no_warning(first):
    images = np.random.default_rng(0).integers(0, 17, (64, 8)) * np.array([0, *[1] * 7])
    model = keras.Sequential([keras.Input((8,)), first, keras.layers.Dense(2)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wage_tf.quantize_model(model, "8-8-8-8", images=images)


def test_inputs_of_unknown_range_get_a_warning():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    with pytest.warns(UserWarning, match="taken for raw pixels, 0 to 255; give some inputs"):
        wage_tf.quantize_model(model)


@pytest.mark.parametrize("relu6", [{"activation": "relu6"}, {"activation": keras.layers.ReLU(6)}])
def test_relu6_ends_at_6_in_float_and_at_a_power_of_two_on_the_grid(relu6):
    model = keras.Sequential([keras.Input((1,), dtype="uint8"), keras.layers.Dense(1, **relu6), keras.layers.Dense(1)])
    model.set_weights([np.array([[1 / 16]]), np.zeros(1), np.ones((1, 1)), np.zeros(1)])
    images = np.arange(256, dtype=np.uint8)[:, None]
    converted = [wage_tf.quantize_model(model, bits, images=images) for bits in ("f-f-f-f", "16-16-16-16")]
    values, grid = (np.asarray(each(images))[:, 0] for each in converted)
    np.testing.assert_array_equal(values, np.minimum(images[:, 0] / 16, 6))
    np.testing.assert_allclose(grid, np.minimum(images[:, 0] / 16, 8), atol=1e-3)


def test_a_model_of_mixed_precision_is_converted_to_float32_simulation():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = network("cnn")
        converted = wage_tf.quantize_model(model, "8-8-8-8")
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in converted.layers[1:]} == {"float32"}
    assert converted(pixels(model)).dtype == np.float32


def test_layers_of_the_model_keep_their_names_and_those_between_take_free_ones():
    names = ("image", "rescale", "dense", "dense_relu", "scores_error")
    image = keras.Input((8,), dtype="uint8", name="input")
    x = keras.layers.Rescaling(1 / 256, name="scores_error_1")(image)
    for name in names:
        x = keras.layers.Dense(4, activation="relu", name=name)(x)
    model = randomized(keras.Model(image, keras.layers.Flatten(name="rescale_1")(keras.layers.Dense(3, name="end")(x))))
    images = pixels(model)
    converted = wage_tf.quantize_model(model, "f-f-f-f", images=images)
    np.testing.assert_allclose(converted(images), model(images), rtol=1e-4, atol=1e-4)
    assert all(isinstance(converted.get_layer(name), QDense) for name in names)


def test_frozen_layers_stay_frozen():
    model = network("cnn")
    model.get_layer("conv").trainable = False
    converted = wage_tf.quantize_model(model)
    assert not converted.get_layer("conv").trainable
    assert converted.get_layer("fc").trainable
