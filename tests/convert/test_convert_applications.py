"""Networks that were not written for this library."""

import keras
import numpy as np
import pytest

import wage_tf
from support.float_networks import randomized
from support.tensors import plain_operations


def separable():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 256)(image)
    x = keras.layers.SeparableConv2D(6, 3, strides=2, depth_multiplier=2, use_bias=False, name="separable")(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.DepthwiseConv2D(2, activation="relu", name="window")(x)
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x)))


def test_depthwise_and_separable_convolutions():
    model = randomized(separable())
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3)).astype(np.float32)
    converted = wage_tf.quantize_model(model, "f-f-f-f", images=images)
    np.testing.assert_allclose(converted(images), model(images), rtol=1e-4, atol=1e-4)
    names = [layer.name for layer in converted.layers]
    assert names[2:5] == ["separable_depthwise", "separable_depthwise_quantized", "separable_pointwise"]


def test_one_pattern_for_both_parts_of_a_separable_convolution():
    bits = {"separable": "4-8-8-8", "separable_pointwise": "3-8-8-8", "*": "8-8-8-8"}
    converted = wage_tf.quantize_model(separable(), bits)
    assert [str(converted.get_layer(f"separable_{part}").bits) for part in ("depthwise", "pointwise")] == [
        "4-8-8-8",
        "3-8-8-8",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [
        lambda **sizes: keras.applications.MobileNet(alpha=0.25, **sizes),
        lambda **sizes: keras.applications.MobileNetV2(alpha=0.35, **sizes),
    ],
)
def test_mobilenets_of_keras_applications(build):
    model = build(weights=None, input_shape=(32, 32, 3), classes=10)
    images = np.random.default_rng(0).uniform(-1, 1, (8, 32, 32, 3)).astype(np.float32)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5
    model(images, training=True)
    wanted = model(images)
    with plain_operations():
        for bits, tolerance in (("f-f-f-f", 1e-3), ("16-16-16-16", 0.02)):
            converted = wage_tf.quantize_model(model, bits, images=images)
            np.testing.assert_allclose(keras.ops.softmax(converted(images)), wanted, atol=tolerance)
