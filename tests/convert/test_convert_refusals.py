import keras
import numpy as np
import pytest
import tensorflow as tf

import wage_tf
from support.float_networks import network, pixels, randomized
from wage_tf.errors import UserError

layers = keras.layers


def functional(build, shape=(8, 8, 3), dtype="uint8"):
    image = keras.Input(shape, dtype=dtype)
    return keras.Model(image, build(image), name="net")


class Block(layers.Layer):
    def call(self, x):
        return x


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x)


class OwnCall(keras.Model):
    """Built like a functional model, called otherwise."""

    def call(self, x):
        return 2 * super().call(x)


def own_call():
    image = keras.Input((4,))
    return OwnCall(image, layers.Dense(3)(image), name="twice")


def twice_used(x):
    conv = layers.Conv2D(3, 3, padding="same", name="conv")
    return conv(layers.ReLU()(conv(x)))


def around_normalization(x):
    h = layers.Conv2D(3, 1, name="conv")(x)
    return layers.Conv2D(2, 1)(layers.ReLU()(layers.Add()([h, layers.BatchNormalization()(h)])))


def softmax_inside(x):
    return layers.Conv2D(3, 1)(layers.Conv2D(3, 1, activation="softmax", name="gate")(x))


def preactivation(x):
    x = layers.ReLU(name="first")(layers.Conv2D(3, 1)(x))
    x = layers.BatchNormalization(name="bn", beta_initializer="ones")(x)
    return layers.Conv2D(3, 1)(layers.ReLU(name="second")(x))


def unequal_branches(x):
    x = layers.Conv2D(3, 1, activation="relu")(x)
    return layers.Conv2D(3, 1)(layers.Add(name="sum")([x, layers.BatchNormalization()(x)]))


def summed_pixels(x):
    x = layers.Rescaling(1 / 255)(x)
    return layers.Conv2D(3, 1)(layers.Add(name="sum")([x, layers.Conv2D(3, 1)(x)]))


def normalized_end(x):
    return layers.BatchNormalization(name="bn")(layers.ReLU()(layers.Conv2D(3, 1)(x)))


def negative_gamma(x):
    x = layers.BatchNormalization(gamma_initializer="zeros")(layers.Conv2D(3, 1, activation="relu")(x))
    return layers.Conv2D(3, 1)(layers.MaxPooling2D(name="pool")(x))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: layers.LeakyReLU(name="leaky")(x), "layer leaky: LeakyReLU has no place in a WAGE network; build"),
        (lambda x: layers.LayerNormalization(name="norm")(x), "layer norm: LayerNormalization has no place"),
        (lambda x: Block(name="own")(x), "layer own: Block has no place in a WAGE network"),
        (lambda x: keras.ops.reshape(x, (-1, 192)), "layer reshape.*: is an operation; use keras.layers.Reshape"),
        (lambda x: x * 2.0, "layer multiply.*: Multiply has no place"),
        (lambda x: layers.Conv2D(3, 1)(x) + 1.0, "layer add.*: adds a constant or broadcasts; add branches"),
        (lambda x: layers.Dense(3, activation="tanh", name="d")(x), "layer d: activation 'tanh' has no integer form; "),
        (lambda x: layers.Activation(lambda x: x, name="f")(x), "layer f: activation '<lambda>' has no integer form"),
        (lambda x: layers.ReLU(negative_slope=0.1, name="r")(x), r"layer r: has a slope.*; use ReLU\(\) or ReLU\(6\)"),
        (lambda x: layers.ReLU(max_value=2, name="r")(x), "layer r: has a slope, a threshold or a maximum"),
        (lambda x: layers.Concatenate(axis=1, name="c")([x, x]), "layer c: concatenates along axis 1; use the last"),
        (lambda x: layers.Softmax(axis=1, name="s")(x), "layer s: runs along axis 1; use the last"),
        (lambda x: layers.BatchNormalization(axis=1, name="bn")(x), "layer bn: normalizes axis 1; normalize the last"),
        (lambda x: layers.Normalization(axis=1, mean=[0.0] * 8, variance=[1.0] * 8, name="n")(x), "layer n: scales "),
        (
            lambda x: wage_tf.layers.QConv2D(3, 1, name="q")(x),
            "layer q: is a QConv2D already; convert the float model that it came from",
        ),
        (twice_used, "layer conv: is used twice, or .*; give each use its own layer"),
        (around_normalization, "layer conv: is used twice, or batch normalization goes around it"),
        (softmax_inside, "layer conv2d.*: softmax or sigmoid stands before it; keep these for the end"),
        (preactivation, "layer second: what is before this ReLU.*; put a convolution in between, or .*weights='fresh'"),
        (unequal_branches, "layer sum: its branches differ by a batch normalization or .*; put .*weights='fresh'"),
        (summed_pixels, "layer sum: its branches differ by .*the scaling of the pixels.*; put a convolution or Dense"),
        (normalized_end, "layer bn: a batch normalization or rescaling at the end cannot be folded"),
        (negative_gamma, "layer pool: the batch normalization before it has a gamma that is not positive"),
    ],
)
def test_one_line_names_the_layer_the_reason_and_what_to_do(build, message):
    with pytest.raises(UserError, match=message) as refused:
        wage_tf.quantize_model(functional(build))
    assert "\n" not in str(refused.value)
    assert "; " in str(refused.value)


@pytest.mark.parametrize("build", [preactivation, unequal_branches, normalized_end, negative_gamma])
def test_fresh_weights_leave_out_what_cannot_be_folded(build):
    model = functional(build)
    converted = wage_tf.quantize_model(model, weights="fresh")
    assert converted.output_shape == model.output_shape


@pytest.mark.parametrize("build", [preactivation, normalized_end, around_normalization])
def test_what_cannot_be_folded_stays_in_the_network(build):
    model = randomized(functional(build, dtype="float32"))
    images = pixels(model)
    converted = wage_tf.quantize_model(model, "16-16-16-16", images=images, fold=False)
    wanted = np.asarray(model(images))
    np.testing.assert_allclose(converted(images), wanted, rtol=0, atol=0.01 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("vgg7", "model: a keras.Model is wanted; received str"),
        (Subclassed(), "model subclassed.*: is not built; call it on a batch, or begin it with keras.Input"),
        (own_call(), r"model twice: a subclass with a call\(\) of its own cannot be read; write it with"),
        (keras.Sequential([layers.Dense(3)], name="unbuilt"), "model unbuilt: is not built; call it"),
        (
            keras.Model([a := keras.Input((3,)), b := keras.Input((3,))], layers.Add()([a, b]), name="two"),
            "model two: has 2 inputs and 1 outputs; convert a model of one",
        ),
    ],
)
def test_models_that_cannot_be_read(model, message):
    with pytest.raises(UserError, match=message):
        wage_tf.quantize_model(model)


def test_a_built_subclass_is_refused_as_one():
    model = Subclassed()
    model(np.zeros((1, 4), np.float32))
    with pytest.raises(UserError, match=r"a subclass with a call\(\) of its own cannot be read"):
        wage_tf.quantize_model(model)


def test_weights_that_are_not_finite():
    model = network("cnn")
    model.get_layer("conv").kernel.assign(np.full((3, 3, 3, 6), np.nan))
    with pytest.raises(UserError, match="layer conv: its weights or batch normalization are not finite; train"):
        wage_tf.quantize_model(model)


def test_a_last_bias_that_a_quantized_layer_cannot_have():
    model = network("cnn")
    model.get_layer("fc").bias.assign([0.0, 9.0, 0.0, 0.0])
    with pytest.raises(UserError, match=r"layer fc: its bias goes beyond ±8, .*; scale the targets down, or convert"):
        wage_tf.quantize_model(model)
    wage_tf.quantize_model(model, "f-f-f-f")


@pytest.mark.parametrize(
    "end",
    [
        lambda x: layers.GlobalAveragePooling2D()(x),
        lambda x: layers.Flatten()(layers.ReLU()(x)),
        lambda x: layers.Add()([x, layers.Conv2D(4, 1)(x)]),
    ],
)
def test_no_layer_behind_the_last_product_hides_such_a_bias(end):
    model = functional(
        lambda x: end(layers.Conv2D(4, 1, bias_initializer=keras.initializers.Constant(20.0), name="c")(x))
    )
    with pytest.raises(UserError, match="layer c: its bias goes beyond ±8"):
        wage_tf.quantize_model(model)


def test_scores_that_a_kernel_reads_too():
    def build(x):
        x = layers.Conv2D(4, 1, activation="relu", bias_initializer=keras.initializers.Constant(5.0))(x)
        return layers.Add(name="sum")([x, layers.Conv2D(4, 1, kernel_initializer="zeros")(x)])

    model = functional(build)
    with pytest.raises(UserError, match=r"layer sum: its scores would be 2\^-\d times .*; end the model in a Dense or"):
        wage_tf.quantize_model(model, "8-8-8-8", images=pixels(model))
    wage_tf.quantize_model(model, "8-8-8-8", weights="fresh")


def test_arguments():
    model = network("cnn")
    with pytest.raises(ValueError, match="weights: 'keep' or 'fresh'; received None"):
        wage_tf.quantize_model(model, weights=None)
    with pytest.raises(ValueError, match="bits: a pattern is four widths"):
        wage_tf.quantize_model(model, "2-8-8")
    with pytest.raises(UserError, match=r"images: the model takes \(None, 8, 8, 3\); received \(4, 8, 8\)"):
        wage_tf.quantize_model(model, images=np.zeros((4, 8, 8)))
    named = tf.data.Dataset.from_tensor_slices({"image": np.zeros((4, 8, 8, 3))}).batch(2)
    with pytest.raises(UserError, match="images: a dataset of images, with targets or without; received"):
        wage_tf.quantize_model(model, images=named)
    with pytest.raises(UserError, match=r"images: one at least is wanted; received \(0, 8, 8, 3\)"):
        wage_tf.quantize_model(model, images=tf.data.Dataset.from_tensor_slices(np.zeros((0, 8, 8, 3))).batch(2))
    with pytest.raises(UserError, match=r"images: one at least is wanted; received \(0, 8, 8, 3\)"):
        wage_tf.quantize_model(model, images=np.zeros((0, 8, 8, 3)))
    for value in (np.nan, np.inf):
        with pytest.raises(UserError, match="images: has values that are not finite; leave these out"):
            wage_tf.quantize_model(model, images=np.full((1, 8, 8, 3), value))
    model = functional(lambda x: layers.Conv2D(2, 1)(layers.Rescaling(1 / 255)(x)), (None, None, 3))
    with pytest.raises(UserError, match=r"model: its input is of any size.*; give images"):
        wage_tf.quantize_model(model)


def test_augmentation_is_left_out_with_a_word():
    model = functional(lambda x: layers.Conv2D(2, 1)(layers.RandomFlip(name="flip")(x)))
    with pytest.warns(UserWarning, match="layer flip: RandomFlip is left out; augment the images in the tf.data"):
        converted = wage_tf.quantize_model(model)
    assert len(converted.layers) == 4


class TestWidths:
    def widths(self, bits):
        converted = wage_tf.quantize_model(network("nested"), bits, weights="fresh")
        return {layer.name: str(layer.bits) for layer in converted.layers if hasattr(layer, "bits")}

    def test_one_pattern_for_all(self):
        assert set(self.widths("4-8-8-8").values()) == {"4-8-8-8"}

    def test_names_before_wildcards_before_the_rest(self):
        widths = self.widths({"*": "2-8-8-8", "head_*": "4-8-8-8", "head_fc": "8-8-8-8", "block_*": "3-6-8-8"})
        assert widths["rescale"] == "2-8-8-8"
        assert widths["head_fc"] == widths["scores_error"] == "8-8-8-8"
        kernel, relu = (name for name in widths if name.startswith("block"))
        assert widths[kernel] == widths[relu] == "3-6-8-8"

    def test_an_activation_has_the_widths_of_the_kernel_before_it(self):
        model = network("cnn")
        converted = wage_tf.quantize_model(model, {"conv": "2-4-8-6", "*": "8-8-8-8"}, images=pixels(model))
        activation = next(layer for layer in converted.layers if "re_lu" in layer.name)
        assert str(activation.bits) == "2-4-8-6"
        assert str(converted.get_layer("fc").bits) == "8-8-8-8"

    def test_a_layer_without_a_pattern(self):
        with pytest.raises(UserError, match="bits: no pattern for the layer 'rescale' and no '\\*' for the rest"):
            self.widths({"head_fc": "8-8-8-8"})

    def test_a_pattern_without_a_layer(self):
        with pytest.raises(UserError, match="bits: 'fc9' is the pattern of no layer; the model has rescale, block_"):
            self.widths({"fc9": "8-8-8-8", "*": "2-8-8-8"})
