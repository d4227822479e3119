"""What freeze reads, and what it refuses."""

import keras
import numpy as np
import pytest

import models
import wage_tf
from support.images import random_images
from wage_tf import constraints, integer, layers
from wage_tf.errors import UserError


def chain(*middle):
    return keras.Sequential([keras.Input((8, 8, 1), dtype="uint8"), layers.QRescaling(1 / 256), *middle])


def test_vgg7_is_read_as_codes_and_shifts():
    graph = integer.freeze(models.build("vgg7", "2-8-8-8", (32, 32, 3), 10, width=0.25))
    assert [kernel.alpha for kernel in graph.kernels.values()] == [1, 3, 3, 3, 3, 4, 4, 3]
    for kernel in graph.kernels.values():
        assert kernel.codes.dtype == np.int8
        assert set(np.unique(kernel.codes)) == {-1, 0, 1}
        assert (kernel.fraction, kernel.limit) == (7, 64)
    assert graph.output.shape == (10,)


def test_the_table_of_pixels_covers_every_preprocessing():
    for scale, offset, expected in ((1 / 256, 0.0, [0, 1, 64, 127]), (1 / 128, -1.0, [-127, -126, 0, 127])):
        model = keras.Sequential([keras.Input((1, 1, 1), dtype="uint8"), layers.QRescaling(scale, offset)])
        table = integer.freeze(model).nodes[0].codes
        assert table[[0, 2, 128, 255]].tolist() == expected


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            keras.layers.UnitNormalization(name="odd"),
            "layer odd: UnitNormalization has no integer node; the kinds supp",
        ),
        (keras.layers.Conv2D(2, 3, name="odd"), r"odd: Conv2D has no integer node.*\(wage_tf\.quantize_model converts"),
        (
            layers.QConv2D(2, 3, name="odd", use_bias=True, bits="2-f-8-8"),
            "layer odd: its activations.* bias .*float32",
        ),
        (layers.QConv2D(2, 3, name="odd", activation="tanh"), "layer odd: activation 'tanh'"),
        (keras.layers.AveragePooling2D(3, name="odd"), r"odd: an average takes 2\^n values; received \(3, 3\)"),
        (keras.layers.AveragePooling2D(2, 1, "same", name="odd"), "odd: an average takes whole windows"),
        (keras.layers.ReLU(6.0, name="odd"), "layer odd: a ReLU with a limit"),
        (layers.QConv2D(2, 3, name="odd", bits="f-8-8-8"), "layer odd: its weights are float32"),
        (layers.QActivation("2-f-8-8", name="odd"), "layer odd: its activations are float32"),
        (layers.QActivation(activation="tanh", name="odd"), "layer odd: activation 'tanh'"),
        (layers.QRescaling(1 / 256, name="odd"), "odd: a Rescale stands only at the input"),
    ],
)
def test_what_has_no_node_is_named(layer, message):
    with pytest.raises(UserError, match=message):
        integer.freeze(chain(layer))


@pytest.mark.parametrize("options", [{"kernel_constraint": "non_neg"}, {"kernel_initializer": "glorot_uniform"}])
def test_stored_weights_off_the_grid_freeze_for_inference_only(options):
    hidden = [layers.QConv2D(2, 3, name="conv", **options), layers.QActivation(), keras.layers.Flatten()]
    model = chain(*hidden, layers.QDense(3), layers.QError())
    graph = integer.freeze(model)
    images = random_images((8, 8, 1), 4)
    assert graph.kernels["conv"].accumulators is None
    assert (model(images).numpy() * 2.0**graph.output.fraction == integer.infer(graph, images)).all()
    with pytest.raises(UserError, match="conv/kernel: no accumulators: this graph is for inference only"):
        integer.train_step(graph, images, np.arange(4) % 3, 3, 0, 0)


def layer_list():
    return [
        keras.Input((8, 8, 1), dtype="uint8"),
        layers.QRescaling(1 / 128, -1.0),
        layers.QConv2D(4, 3),
        layers.QActivation(),
        keras.layers.Flatten(),
        layers.QDense(10),
        layers.QActivation(activation=None),
        layers.QError(),
    ]


def added(tmp_path):
    model = keras.Sequential()
    for layer in layer_list():
        model.add(layer)
    return model


def loaded(tmp_path):
    keras.Sequential(layer_list()).save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")


def inside_another(tmp_path):
    model = keras.Sequential(layer_list())
    image = keras.Input((8, 8, 1), dtype="uint8")
    keras.Model(image, model(image))
    return model


@pytest.mark.parametrize("build", [added, loaded, inside_another])
def test_a_sequential_is_read_as_it_is_now(tmp_path, build):
    """Keras calls the layers again whenever a Sequential is rebuilt."""
    model = build(tmp_path)
    graph = integer.freeze(model)
    assert [type(node).__name__ for node in graph.nodes][2:5] == ["Activation", "Flatten", "Dense"]
    images = random_images((8, 8, 1), 4)
    assert (model(images).numpy() * 2.0**graph.output.fraction == integer.infer(graph, images)).all()


def assert_infers_alike(model, graph, images):
    assert (model(images, training=False).numpy() * 2.0**graph.output.fraction == integer.infer(graph, images)).all()


def scored(x):
    """A hidden convolution and the scores."""
    x = layers.QActivation()(layers.QConv2D(4, 3, activation="relu", use_bias=True)(x))
    return layers.QError()(layers.QDense(10)(keras.layers.Flatten()(x)))


def test_dropout_and_augmentation_are_the_identity_in_inference():
    image = keras.Input((8, 8, 1), dtype="uint8")
    x = layers.QRescaling(1 / 256)(keras.layers.RandomFlip(name="flip")(image))
    model = keras.Model(image, scored(keras.layers.Dropout(0.5, name="drop")(x)))
    graph = integer.freeze(model)
    images = random_images((8, 8, 1), 4)
    assert_infers_alike(model, graph, images)
    compared = wage_tf.verify(model, images, np.arange(4))
    assert compared.equal
    assert compared.steps.done == 0
    with pytest.raises(UserError, match="flip: RandomFlip has no integer training; drop: Dropout has no integer train"):
        integer.train_step(graph, images, np.arange(4), 3, 0, 0)


def test_the_global_maximum_of_keras_is_for_inference():
    """It divides an error among equal maxima, by no power of two."""
    model = chain(keras.layers.GlobalMaxPooling2D(name="top"), layers.QDense(4), layers.QError())
    graph = integer.freeze(model)
    images = random_images((8, 8, 1), 4)
    assert_infers_alike(model, graph, images)
    with pytest.raises(UserError, match="GlobalMaxPooling2D has no integer training"):
        integer.train_step(graph, images, np.arange(4), 3, 0, 0)


def test_nested_models_are_flattened():
    inner_image = keras.Input((8, 8, 2))
    inner = keras.Model(inner_image, layers.QActivation(name="act")(inner_image), name="inner")
    body = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.QConv2D(2, 3, padding="same", name="conv"), inner], name="body"
    )
    image = keras.Input((8, 8, 1), dtype="uint8")
    model = keras.Model(image, scored(body(layers.QRescaling(1 / 256)(image))))
    graph = integer.freeze(model)
    assert "body/conv" in graph.kernels
    assert "body/inner/act" in graph.signals
    assert_infers_alike(model, graph, random_images((8, 8, 1), 4))


@pytest.mark.parametrize("shape", [(12,), (3, 4)])
def test_flat_inputs(shape):
    image = keras.Input(shape, dtype="uint8")
    x = keras.layers.Reshape((2, 6, 1))(layers.QRescaling(1 / 256)(image))
    x = layers.QActivation()(layers.QConv2D(3, 2)(x))
    model = keras.Model(image, layers.QDense(4)(keras.layers.Flatten()(x)))
    assert_infers_alike(model, integer.freeze(model), random_images(shape, 4))


def test_a_pipeline_that_shapes_its_pixels_first():
    """Flatten and zero padding stand before the QRescaling."""
    image = keras.Input((4, 4, 1), dtype="uint8")
    x = layers.QRescaling(1 / 128, -1.0)(keras.layers.Flatten()(keras.layers.ZeroPadding2D(1)(image)))
    model = keras.Model(image, layers.QDense(4)(x))
    assert_infers_alike(model, integer.freeze(model), random_images((4, 4, 1), 4))


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["2-8-f-f", "2-8-8-f", "8-8-f-8"])
def test_float_gradients_freeze_for_inference(bits):
    """Trained with Adam, no stored weight lies on a grid."""
    image = keras.Input((8, 8, 1), dtype="uint8")
    x = keras.layers.Flatten()(layers.QRescaling(1 / 256)(image))
    model = keras.Model(image, layers.QDense(4, bits=bits, use_bias=True, name="fc")(x))
    model.compile("adam", "mse")
    images = random_images((8, 8, 1), 8)
    model.fit(images, np.eye(4)[np.arange(8) % 4], epochs=2, verbose=0)
    graph = integer.freeze(model)
    assert graph.kernels["fc"].accumulators is None
    assert graph.parameters["fc/bias"].accumulators is None
    assert_infers_alike(model, graph, images)


def test_a_layer_used_twice_is_refused():
    image, twice = keras.Input((8, 8, 1), dtype="uint8"), layers.QActivation(name="twice")
    x = twice(layers.QConv2D(1, 3, padding="same")(layers.QRescaling(1 / 256)(image)))
    x = twice(layers.QConv2D(1, 3, padding="same")(x))
    with pytest.raises(UserError, match="layer twice: used in two places"):
        integer.freeze(keras.Model(image, x))


def test_a_model_without_rescaling_is_refused():
    model = keras.Sequential([keras.Input((4,)), layers.QDense(2)])
    with pytest.raises(UserError, match="begins with a QRescaling"):
        integer.freeze(model)


def test_another_clip_gives_the_accumulators_its_range():
    model = chain(layers.QConv2D(1, 3, bits="8-8-4-8", kernel_constraint=constraints.ClipToGrid(10)))
    kernel = next(iter(integer.freeze(model).kernels.values()))
    assert (kernel.fraction, kernel.limit) == (9, 511)
