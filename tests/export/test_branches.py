"""Generated C that trains branches and biases against the integer engine, stored weights bit for bit."""

import contextlib
import dataclasses
import shutil
import struct
import zlib

import keras
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import models
from support.device import CARD, SANITIZED, assert_trains_alike, batches, exported
from support.drawn_networks import network
from support.networks import frozen
from support.tensors import plain_operations
from wage_tf import integer, layers
from wage_tf.errors import UserError
from wage_tf.export import Training, write_c
from wage_tf.export.c_backward import tail
from wage_tf.export.c_layout import Layout
from wage_tf.export.stages import fused, stages
from wage_tf.integer import nodes

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(1)
    with plain_operations():
        yield


def lively(name, shape, width, classes=10):
    """A network whose weights are twice as large, so that signals do not fade where there are many layers."""
    graph = integer.freeze(models.build(name, "2-8-8-8", shape, classes, width=width))
    kernels = {f"{node}/kernel": kernel for node, kernel in graph.kernels.items()}
    return graph.with_parameters({n: dataclasses.replace(k, alpha=k.alpha - 1) for n, k in kernels.items()})


def built(outputs, image, x):
    return integer.freeze(keras.Model(image, layers.QError()(layers.QDense(outputs, name="last")(x))))


def start(shape=(6, 6, 2), bits="2-8-8-8"):
    image = keras.Input(shape, dtype="uint8")
    x = layers.QRescaling(1 / 128, -1.0)(image)
    return image, layers.QActivation()(layers.QConv2D(4, 3, padding="same", name="first", bits=bits)(x))


def conv(x, filters, size=3, **options):
    return layers.QActivation()(layers.QConv2D(filters, size, padding="same", **options)(x))


def joined():
    """Concatenations of convolutions and of what they take, of an average and of vectors; and paddings of codes."""
    image, x = start()
    x = keras.layers.Concatenate()([conv(x, 3, 1), x, conv(conv(x, 2, 1), 5)])
    average = layers.QActivation()(keras.layers.AveragePooling2D(2)(x))
    padded = conv(keras.layers.ZeroPadding2D(((1, 0), (0, 1)))(x), 3, 2, strides=2)
    tall = layers.QActivation()(keras.layers.AveragePooling2D((4, 1), strides=(1, 2))(keras.layers.ZeroPadding2D(1)(x)))
    flat = keras.layers.Concatenate()([keras.layers.Flatten()(branch) for branch in (average, padded, tall)])
    return built(3, image, flat)


def sums():
    """Sums of two and of three, of sums and of codes, of one output taken twice; and ReLUs that stand alone."""
    image, x = start()
    twice = layers.QActivation()(keras.layers.Add()([x, x]))
    inner = layers.QConv2D(4, 1)(keras.layers.Identity()(twice))
    three = keras.layers.Add()([inner, layers.QDepthwiseConv2D(3, padding="same")(x), twice])
    x = layers.QActivation()(keras.layers.ReLU()(three))
    x = layers.QActivation(activation=None)(keras.layers.ReLU()(keras.layers.MaxPooling2D(2)(layers.QConv2D(5, 2)(x))))
    return built(4, image, keras.layers.Flatten()(x))


def wide_sums():
    image, x = start(bits="8-8-8-8")
    inner = layers.QConv2D(4, 3, padding="same", bits="8-8-8-8")(conv(x, 64, bits="8-8-8-8"))
    x = layers.QActivation()(keras.layers.Add(name="meeting")([inner, layers.QConv2D(4, 1, bits="8-8-8-8")(x)]))
    return built(3, image, keras.layers.Flatten()(x))


def biased():
    """Biases of a convolution, of a depthwise one, of a pooled one, of one within a sum, and of the last layer."""
    image, x = start()
    x = conv(x, 4, use_bias=True)
    x = layers.QActivation()(layers.QDepthwiseConv2D(3, depth_multiplier=2, use_bias=True)(x))
    x = keras.layers.MaxPooling2D(2)(layers.QConv2D(6, 1, use_bias=True, bits="3-8-8-8")(x))
    x = layers.QActivation()(x)
    x = layers.QActivation()(keras.layers.Add()([layers.QConv2D(6, 1, use_bias=True, name="within")(x), x]))
    x = layers.QDense(3, use_bias=True, bits="4-8-8-8")(keras.layers.Flatten()(x))
    return integer.freeze(keras.Model(image, layers.QError()(layers.QActivation("2-8-8-f", activation=None)(x))))


def resnet8(width=0.2):
    return integer.freeze(models.build("resnet8", "2-8-8-8", (16, 16, 3), 10, width=width))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("graph", "train_from"),
    [
        (resnet8, None),
        (resnet8, "block2_conv2"),
        (resnet8, "block3_skip"),
        (lambda: lively("ds_cnn", (24, 10, 1), 0.1), None),
        (lambda: lively("ds_cnn", (24, 10, 1), 0.1), "block3_depthwise"),
        (lambda: lively("mobilenet", (32, 32, 3), 0.1, 2), None),
        (joined, None),
        (wide_sums, None),
        (sums, None),
        (biased, None),
        (biased, "within"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_20_steps_equal_the_engine_under_sanitizers(tmp_path, graph, train_from):
    graph = graph()
    assert_trains_alike(exported(tmp_path, graph, 2, train_from, 3, flags=SANITIZED), graph, 20, 2, train_from, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("compiler", "flags"),
    [("gcc", ("-O3",)), ("clang", ("-O3",)), ("clang", SANITIZED)],
    ids=["gcc-O3", "clang-O3", "clang-sanitized"],
)
@pytest.mark.parametrize("graph", [lambda: resnet8(0.1), joined, biased], ids=["resnet8", "joined", "biased"])
def test_every_compiler(tmp_path, compiler, flags, graph):
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    graph = graph()
    assert_trains_alike(exported(tmp_path, graph, 2, None, 3, compiler, flags), graph, 5, 2, None, 3)


@pytest.mark.parametrize(
    ("name", "shape", "width"),
    [("resnet8", (32, 32, 3), 1.0), ("ds_cnn", (49, 10, 1), 1.0), ("mobilenet", (96, 96, 3), 0.25)],
)
def test_from_every_layer_on_without_numbers_of_64_bits(name, shape, width):
    graph = integer.freeze(models.build(name, "2-8-8-8", shape, 10, width=width))
    network = fused(stages(graph))
    for place, train_from in enumerate(graph.kernels):
        found = tail(graph, network, Training(1, train_from))
        assert [layer.name for layer in found.trained] == list(graph.kernels)[place:]
        assert not found.is_wide
    assert Layout.of(joined(), Training()).tail.is_wide


@pytest.mark.slow
@settings(max_examples=8, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.data())
def test_drawn_networks(tmp_path_factory, data):
    """From the first layer on from which a device can train them, where there is one."""
    graph = integer.freeze(network(data))
    for train_from in graph.kernels:
        folder = tmp_path_factory.mktemp("net")
        with contextlib.suppress(UserError):
            device = exported(folder, graph, 3, train_from, 3, flags=("-O0",))
            assert_trains_alike(device, graph, 4, 3, train_from, 3, all_change=False)
            return


def test_a_block_holds_the_biases(tmp_path):
    graph = biased()
    device = exported(tmp_path, graph, flags=SANITIZED)
    images, labels = next(batches(graph, 1, 4))
    device.train(images, labels)
    device.save()
    _, block = device.run()
    biases = [parameter for parameter in graph.parameters.values() if isinstance(parameter, nodes.Bias)]
    beyond = struct.pack("<i", biases[-1].limit + 1)
    forged = block[:-8] + beyond
    device.load(forged + struct.pack("<I", zlib.crc32(forged)), 1)
    device.load(block, 1)
    device.save(1)
    assert device.run() == [4, 0, block]


def of_sums(layer):
    """A network in which what quantizes a convolution's error comes after a layer."""
    image, x = start()
    x = layer([layers.QConv2D(2, 1, name="odd")(x), layers.QConv2D(2, 1)(x)])
    return built(3, image, keras.layers.Flatten()(layers.QActivation(name="after")(x)))


def of_codes(layer):
    image, x = start()
    return built(3, image, keras.layers.Flatten()(layer(x)))


def masked(x):
    return keras.layers.Add(name="meeting")([keras.layers.ReLU(name="mask")(x[0]), x[1]])


def averaged(x):
    x = keras.layers.AveragePooling2D(2, name="mean")(layers.QActivation()(x[0]))
    return keras.layers.Concatenate(name="joint")([x, x])


@pytest.mark.parametrize(
    ("graph", "train_from", "message"),
    [
        (
            lambda: of_sums(keras.layers.Concatenate(name="joint")),
            None,
            "odd: sums that go unrounded into joint cannot",
        ),
        (lambda: of_sums(masked), None, "mask: sums that go unrounded into meeting cannot be trained"),
        (lambda: of_codes(keras.layers.MaxPooling2D(2, name="pool")), None, "pool: a max pooling of codes cannot be"),
        (lambda: of_codes(keras.layers.ReLU(name="mask")), None, "mask: a ReLU of codes .*; train_from = last can be"),
        (lambda: of_codes(layers.QError(name="twice")), None, "twice: an error that is quantized before the end"),
        (lambda: of_sums(averaged), None, "mean: sums with several readers cannot be trained"),
        (lambda: frozen("alexnet", shape=(67, 63, 3), width=0.02), None, "a max pooling that is not fused"),
        (lambda: frozen("mlp", "2-8-16-8"), None, "fc1: stored weights of up to .* more than 8 bits"),
        (lambda: frozen("mlp", "2-12-8-8"), None, "codes of more than 8 bits"),
        (lambda: frozen("mlp"), "conv1", "train_from: one of fc1, fc2, fc3; received 'conv1'"),
    ],
)
def test_what_a_device_cannot_train_is_named_before_anything_is_written(tmp_path, graph, train_from, message):
    with pytest.raises(UserError, match=message):
        write_c(tmp_path / "net", graph(), CARD, Training(1, train_from))
    assert not (tmp_path / "net").exists()
