import itertools
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import wage_tf
from models.blocks import Blocks
from support.images import random_images
from support.tensors import plain_operations
from wage_tf.cli.parsers import CLASSIFIERS
from wage_tf.constraints import ClipToGrid
from wage_tf.errors import UserError
from wage_tf.layers import QActivation, QDepthwiseConv2D, QError
from wage_tf.losses import SumSquaredError
from wage_tf.metrics import ErrorRate
from wage_tf.optimizers import IntegerSGD, gradient_bits

ROOT = Path(__file__).resolve().parent.parent


def kernels(model):
    return {layer.name: tuple(layer.kernel.shape) for layer in model.layers if hasattr(layer, "alpha")}


@pytest.mark.parametrize(
    ("name", "shape", "classes", "width"),
    [
        ("mlp", (28, 28, 1), 10, 1.0),
        ("mlp", (1, 1, 3), 2, 0.125),
        ("mlp_100_50", (28, 28, 1), 10, 1.0),
        ("mlp_200_100_50", (28, 28, 1), 10, 1.0),
        ("lenet5", (28, 28, 1), 10, 1.0),
        ("lenet5", (16, 16, 3), 4, 0.25),
        ("lenet5", (20, 30, 1), 7, 0.25),
        ("vgg7", (32, 32, 3), 10, 0.125),
        ("vgg7", (8, 8, 1), 3, 0.0625),
        ("vgg7", (30, 17, 3), 10, 0.0625),
        ("vgg8b", (28, 28, 1), 10, 0.0625),
        ("alexnet", (63, 63, 3), 5, 0.0625),
        ("resnet8", (32, 32, 3), 10, 0.25),
        ("resnet8", (28, 28, 1), 10, 0.25),
        ("resnet20", (9, 12, 3), 3, 0.125),
        ("mobilenet", (96, 96, 3), 2, 0.03125),
        ("ds_cnn", (49, 10, 1), 12, 0.125),
    ],
)
def test_outputs(name, shape, classes, width):
    model = models.build(name, "2-8-8-8", shape, classes, width)
    assert model.name == name
    assert model.input_shape == (None, *shape)
    assert model.inputs[0].dtype == "uint8"
    assert model.output_shape == (None, classes)
    with plain_operations():
        scores = np.asarray(model(random_images(shape, 2)))
    assert scores.shape == (2, classes)
    assert scores.dtype == np.float32
    assert np.all(np.isfinite(scores))


def test_kernels_of_the_papers_networks():
    assert kernels(models.build("lenet5", "2-8-8-8", (28, 28, 1), 10)) == {
        "conv1": (5, 5, 1, 32),
        "conv2": (5, 5, 32, 64),
        "fc1": (1024, 512),
        "fc2": (512, 10),
    }
    assert kernels(models.build("vgg8b", "2-8-8-8", (28, 28, 1), 10)) == {
        "conv1": (3, 3, 1, 128),
        "conv2": (3, 3, 128, 256),
        "conv3": (3, 3, 256, 256),
        "conv4": (3, 3, 256, 512),
        "conv5": (3, 3, 512, 512),
        "conv6": (3, 3, 512, 512),
        "fc1": (512, 1024),
        "fc2": (1024, 10),
    }
    assert kernels(models.build("vgg7", "2-8-8-8", (32, 32, 3), 10)) == {
        "conv1": (3, 3, 3, 128),
        "conv2": (3, 3, 128, 128),
        "conv3": (3, 3, 128, 256),
        "conv4": (3, 3, 256, 256),
        "conv5": (3, 3, 256, 512),
        "conv6": (3, 3, 512, 512),
        "fc1": (8192, 1024),
        "fc2": (1024, 10),
    }
    assert kernels(models.build("mlp", "2-8-8-8", (28, 28, 1), 10)) == {
        "fc1": (784, 512),
        "fc2": (512, 512),
        "fc3": (512, 10),
    }


def test_kernels_of_alexnet():
    shapes = kernels(models.build("alexnet", "2-8-8-8", (224, 224, 3), 1000, 0.25))
    assert shapes == {
        "conv1": (11, 11, 3, 24),
        "conv2": (5, 5, 24, 64),
        "conv3": (3, 3, 64, 96),
        "conv4": (3, 3, 96, 96),
        "conv5": (3, 3, 96, 64),
        "fc1": (6 * 6 * 64, 1024),
        "fc2": (1024, 1024),
        "fc3": (1024, 1000),
    }


def test_kernels_of_the_residual_networks():
    assert kernels(models.build("resnet8", "2-8-8-8", (32, 32, 3), 10)) == {
        "conv1": (3, 3, 3, 16),
        "block1_conv1": (3, 3, 16, 16),
        "block1_conv2": (3, 3, 16, 16),
        "block2_conv1": (3, 3, 16, 32),
        "block2_conv2": (3, 3, 32, 32),
        "block2_skip": (1, 1, 16, 32),
        "block3_conv1": (3, 3, 32, 64),
        "block3_conv2": (3, 3, 64, 64),
        "block3_skip": (1, 1, 32, 64),
        "fc1": (64, 10),
    }
    shapes = kernels(models.build("resnet20", "2-8-8-8", (32, 32, 3), 10))
    assert len([name for name in shapes if "skip" not in name]) == 20
    assert [name for name in shapes if "skip" in name] == ["block4_skip", "block7_skip"]
    assert shapes["block3_conv2"] == (3, 3, 16, 16)
    assert shapes["block4_conv1"] == (3, 3, 16, 32)
    assert shapes["block9_conv2"] == (3, 3, 64, 64)
    assert shapes["fc1"] == (64, 10)


def test_kernels_of_the_separable_networks():
    shapes = kernels(models.build("ds_cnn", "2-8-8-8", (49, 10, 1), 12))
    assert shapes == {
        "conv1": (10, 4, 1, 64),
        **{f"block{place}_depthwise": (3, 3, 64, 1) for place in (1, 2, 3, 4)},
        **{f"block{place}_pointwise": (1, 1, 64, 64) for place in (1, 2, 3, 4)},
        "fc1": (64, 12),
    }
    model = models.build("mobilenet", "2-8-8-8", (96, 96, 3), 2, 0.25)
    channels = [8, 16, 32, 32, 64, 64, *[128] * 6, 256, 256]
    assert kernels(model) == {
        "conv1": (3, 3, 3, 8),
        **{f"block{place}_depthwise": (3, 3, channels[place - 1], 1) for place in range(1, 14)},
        **{f"block{place}_pointwise": (1, 1, channels[place - 1], channels[place]) for place in range(1, 14)},
        "fc1": (256, 2),
    }
    assert model.get_layer("block13_pointwise").output.shape == (None, 3, 3, 256)


def test_kernels_of_the_autoencoder():
    units = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
    assert kernels(models.autoencoder()) == {f"fc{n + 1}": (units[n], units[n + 1]) for n in range(10)}


CHAINS = ("alexnet", "lenet5", "mlp", "mlp_100_50", "mlp_200_100_50", "vgg7", "vgg8b")


@pytest.mark.parametrize("name", models.names)
def test_the_last_layer(name):
    """Only LeNet-5, the perceptrons and the autoencoder quantize the outputs; all quantize their error."""
    model = models.build(name, "2-8-8-8", (64, 64, 3), 10, 0.03125)
    assert isinstance(model.layers[-1], QError)
    clipped = name in ("lenet5", "autoencoder") or name.startswith("mlp")
    assert isinstance(model.layers[-2], QActivation) == clipped
    if clipped:
        assert model.layers[-2].bits.e is None
        assert model.layers[-2].activation is keras.activations.linear


@pytest.mark.parametrize("name", CHAINS)
def test_order_of_a_hidden_layer(name):
    """Convolution, pooling, then QActivation."""
    model = models.build(name, "2-8-8-8", (64, 64, 3), 10, 0.0625)
    last = [layer for layer in model.layers if hasattr(layer, "alpha")][-1]
    for layer, follower in itertools.pairwise(model.layers):
        if hasattr(layer, "alpha") and layer is not last:
            assert isinstance(follower, (keras.layers.MaxPooling2D, QActivation))
        if isinstance(layer, keras.layers.MaxPooling2D):
            assert isinstance(follower, QActivation)


def sources(layer):
    """Names of the layers whose outputs a layer takes."""
    return [tensor._keras_history.operation.name for tensor in layer._inbound_nodes[0].input_tensors]


def test_order_of_a_residual_block():
    """y = QActivation(F(x) + x), the sum unquantized; a 1x1 convolution in place of x where the shape changes."""
    model = models.build("resnet8", {"block2_conv2": "2-6-8-4", "*": "2-8-8-8"}, (8, 8, 3), 10, 0.25)
    assert sources(model.get_layer("block1_add")) == ["block1_conv2", "conv1_relu"]
    assert sources(model.get_layer("block2_add")) == ["block2_conv2", "block2_skip"]
    assert sources(model.get_layer("block2_skip")) == sources(model.get_layer("block2_conv1")) == ["block1_conv2_relu"]
    assert sources(model.get_layer("block2_conv2")) == ["block2_conv1_relu"]
    activation = model.get_layer("block2_conv2_relu")
    assert sources(activation) == ["block2_add"]
    assert activation.activation is keras.activations.relu
    assert str(activation.bits) == "2-6-8-4"
    assert model.get_layer("block2_conv1").strides == model.get_layer("block2_skip").strides == (2, 2)
    assert model.get_layer("block2_conv2").strides == (1, 1)


def test_order_of_a_separable_block():
    bits = {"block2_depthwise": "8-6-8-8", "*": "2-8-8-8"}
    model = models.build("mobilenet", bits, (32, 32, 3), 2, 0.125, factor=2.0)
    names = ["block2_depthwise", "block2_depthwise_relu", "block2_pointwise", "block2_pointwise_relu"]
    places = [[layer.name for layer in model.layers].index(name) for name in names]
    assert places == list(range(places[0], places[0] + 4))
    depthwise = model.get_layer("block2_depthwise")
    assert isinstance(depthwise, QDepthwiseConv2D)
    assert (str(depthwise.bits), depthwise.strides, depthwise.factor) == ("8-6-8-8", (2, 2), 2.0)
    assert str(model.get_layer("block2_depthwise_relu").bits) == "8-6-8-8"
    assert str(model.get_layer("block2_pointwise").bits) == "2-8-8-8"


def test_a_constraint_reaches_depthwise_kernels():
    model = models.build("ds_cnn", "2-8-8-8", (8, 8, 1), 4, 0.125, kernel_constraint=ClipToGrid(8))
    assert {model.get_layer(name).kernel.constraint.bits for name in kernels(model)} == {8}


@pytest.mark.parametrize(("shape", "divisor"), [((8, 8), 64), ((3, 3), 16), ((25, 5), 128), ((1, 1), 1), ((1, 3), 4)])
def test_an_average_divides_by_a_power_of_two(shape, divisor):
    """Forward and backward: Keras' mean where there are 2^n positions, the sum by the next power of two elsewhere."""
    x = np.random.default_rng(1).integers(0, 128, (2, *shape, 3)).astype(np.float32) / 128
    image = keras.Input((*shape, 3))
    model = keras.Model(image, Blocks("2-16-8-f").average(image, "conv1"))
    np.testing.assert_array_equal(model(x), x.sum(axis=(1, 2)) / divisor)
    with tf.GradientTape() as tape:
        tape.watch(given := tf.constant(x))
        total = tf.reduce_sum(model(given))
    np.testing.assert_array_equal(tape.gradient(total, given), np.full_like(x, 1 / divisor))


@pytest.mark.slow
def test_the_autoencoder_is_integers():
    """And no operand all zeros; tests/export/test_deployed_equality.py has the other networks, trained."""
    keras.utils.set_random_seed(2)
    model = models.autoencoder(input_shape=(32,), width=0.5)
    windows = random_images((32,), 8)
    targets = (windows / 128 - 1).astype(np.float32)
    comparison = wage_tf.verify(model, windows, targets, steps=2, batch_size=4)
    assert comparison.equal, comparison
    assert comparison.steps.done == 2
    assert not [row for row in comparison.rows.values() if row.low == row.high == 0]


@pytest.mark.slow
def test_the_autoencoder_learns_to_give_back_its_inputs():
    """Two kinds of windows: outputs that do not see their inputs leave at least the targets' variance."""
    keras.utils.set_random_seed(2)
    generator = np.random.default_rng(3)
    kinds = np.where(generator.random((2, 32)) < 0.5, 64, 192)
    windows = (kinds[np.arange(128) % 2] + generator.integers(-16, 17, (128, 32))).astype(np.uint8)
    targets = windows / np.float32(128) - 1
    blind = 0.5 * targets.var(axis=0).sum()
    model = models.autoencoder("8-8-8-8", (32,), factor=2)
    model.compile(IntegerSGD(8.0, 8, seed=1), SumSquaredError(reduction="sum_over_batch_size"))
    model.fit(windows, targets, batch_size=16, epochs=12, shuffle=False, verbose=0)
    assert model.evaluate(windows, targets, verbose=0) < blind / 4


def test_the_autoencoder_takes_images_too():
    model = models.build("autoencoder", "2-8-8-8", (4, 6, 3), 10, 0.5)
    assert (model.input_shape, model.output_shape) == ((None, 4, 6, 3), (None, 72))
    assert [name for name in models.names if models.reconstructs(name)] == ["autoencoder"]


def test_help_names_every_network():
    assert sorted([*CLASSIFIERS.split(", "), "autoencoder"]) == sorted(models.names)


def test_only_kernels_train():
    model = models.build("vgg7", "2-8-8-8", (16, 16, 3), 10, 0.0625)
    assert {variable.name for variable in model.variables if "seed" not in variable.path} == {"kernel"}


@pytest.mark.parametrize(("channels", "scale", "offset"), [(1, 1 / 256, 0.0), (3, 1 / 128, -1.0)])
def test_pixels(channels, scale, offset):
    layer = models.build("mlp", "2-8-8-8", (8, 8, channels), 10, 0.125).get_layer("rescale")
    assert (layer.scale, layer.offset) == (scale, offset)


def test_width():
    assert kernels(models.build("lenet5", "2-8-8-8", (28, 28, 1), 10, 0.25))["conv2"] == (5, 5, 8, 16)
    assert kernels(models.build("lenet5", "2-8-8-8", (28, 28, 1), 10, 2))["conv2"] == (5, 5, 64, 128)
    assert kernels(models.build("mlp", "2-8-8-8", (8, 8, 1), 10, 1e-6))["fc1"] == (64, 1)


def test_bits_of_single_layers():
    bits = {"conv1": "8-8-8-8", "fc2": "4-8-f-8", "rescale": "2-6-8-8", "*": "2-8-8-8"}
    model = models.build("lenet5", bits, (16, 16, 1), 10, 0.25)
    assert str(model.get_layer("conv1").bits) == "8-8-8-8"
    assert str(model.get_layer("conv1_relu").bits) == "8-8-8-8"
    assert str(model.get_layer("conv2").bits) == "2-8-8-8"
    assert str(model.get_layer("fc2").bits) == "4-8-f-8"
    assert str(model.get_layer("rescale").bits) == "2-6-8-8"
    widths = gradient_bits(model)
    assert [widths[model.get_layer(name).kernel.path] for name in ("conv1", "conv2", "fc1", "fc2")] == [8, 8, 8, None]


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ({"rescale": "2-8-8-8", "fc1": "2-8-8-8"}, "no pattern for the layer 'conv1' and no '\\*'"),
        ({"conv9": "8-8-8-8", "*": "2-8-8-8"}, "conv9"),  # a misspelt name must not be dropped in silence
        ("2-8-8", "received '2-8-8'"),
    ],
)
def test_bits_that_do_not_fit_are_refused(bits, message):
    with pytest.raises(ValueError, match=message):
        models.build("lenet5", bits, (16, 16, 1), 10, 0.25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet", "2-8-8-8", (32, 32, 3), 10), f"'resnet' is not one of {', '.join(models.names)}"),
        (("lenet5", "2-8-8-8", (15, 28, 1), 10), r"at least 16x16 pixels; received \(15, 28, 1\)"),
        (("vgg7", "2-8-8-8", (8, 7, 3), 10), "at least 8x8 pixels"),
        (("alexnet", "2-8-8-8", (62, 224, 3), 10), "at least 63x63 pixels"),
        (("mlp", "2-8-8-8", (8, 8, 1), 10, 0.0), "width: a positive multiplier; received 0.0"),
        (("mlp", "2-8-8-8", (8, 8, 1), 10, float("nan")), "width: a positive multiplier; received nan"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(UserError, match=message) as caught:
        models.build(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("lenet5", 16),
        ("vgg7", 8),
        ("vgg8b", 16),
        ("alexnet", 63),
        ("mlp", 1),
        ("resnet8", 4),
        ("ds_cnn", 4),
        ("mobilenet", 32),
    ],
)
def test_the_smallest_image_passes(name, side):
    assert models.build(name, "2-8-8-8", (side, side, 3), 2, 0.03).output_shape == (None, 2)


@pytest.mark.slow
def test_saved_model_loads_in_a_fresh_process(tmp_path):
    """After `import wage_tf` alone, without custom_objects: the same scores and next step, bit for bit."""
    model = models.build("lenet5", {"conv2": "4-6-12-8", "*": "2-8-8-8"}, (16, 16, 1), 10, 0.0625)
    model.compile(IntegerSGD(8.0, gradient_bits(model), seed=4), SumSquaredError(), metrics=[ErrorRate()])
    x, t = random_images((16, 16, 1), 8), np.eye(10, dtype=np.float32)[:8]
    path = tmp_path / "lenet5"
    with plain_operations():
        model.train_on_batch(x, t)
        model.save(f"{path}.keras")
        scores = np.asarray(model(x))
        model.train_on_batch(x, t)
    np.savez(f"{path}.npz", *model.get_weights(), x=x, t=t, scores=scores)
    program = """
import sys
import wage_tf, keras, numpy as np
model = keras.saving.load_model(sys.argv[1] + ".keras")
data = np.load(sys.argv[1] + ".npz")
np.testing.assert_array_equal(np.asarray(model(data["x"])), data["scores"])
assert type(model.optimizer) is wage_tf.optimizers.IntegerSGD and int(model.optimizer.iterations) == 1
assert model.get_layer("conv2").alpha and str(model.get_layer("conv2").bits) == "4-6-12-8"
model.train_on_batch(data["x"], data["t"])
for index, weight in enumerate(model.get_weights()):
    np.testing.assert_array_equal(weight, data[f"arr_{index}"])
assert "models" not in sys.modules
print("same scores, same step")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "same scores, same step" in done.stdout


def test_models_do_not_learn_from_their_own_numbering():
    """Building twice in one process gives the same layer and variable names."""
    first, second = (models.build("mlp", "2-8-8-8", (8, 8, 1), 10, 0.125) for _ in range(2))
    assert [v.path for v in first.variables] == [v.path for v in second.variables]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "lenet5"])
def test_clipped_networks_learn_the_digits(name, digits):
    """Ten passes over 512 digits: far better than the 90 % error of guessing."""
    x, t = (part[:512] for part in digits)
    x = x.repeat(2, axis=1).repeat(2, axis=2)
    model = models.build(name, "2-8-8-8", x.shape[1:], 10, 0.5)
    model.compile(IntegerSGD(8.0, 8, seed=3), SumSquaredError(), metrics=["accuracy"])
    history = model.fit(x, t, batch_size=32, epochs=10, shuffle=False, verbose=0).history
    assert history["accuracy"][-1] > 0.85
