"""What freeze reads, and what it refuses."""

import keras
import numpy as np
import pytest

import models
from tests.integer.helpers import random_images
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
        (keras.layers.Dropout(0.5, name="odd"), "layer odd: Dropout has no integer node; the kinds supported are QRes"),
        (keras.layers.Conv2D(2, 3, name="odd"), "layer odd: Conv2D has no integer node"),
        (layers.QConv2D(2, 3, name="odd", use_bias=True), "layer odd: .* without bias"),
        (layers.QConv2D(2, 3, name="odd", activation="relu"), "layer odd: .* without activation"),
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


def test_a_branch_is_refused():
    image = keras.Input((8, 8, 1), dtype="uint8")
    x = layers.QRescaling(1 / 256)(image)
    y = layers.QConv2D(1, 3, padding="same")(x)
    with pytest.raises(UserError, match="no integer node"):
        integer.freeze(keras.Model(image, keras.layers.Add()([x, y])))


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
