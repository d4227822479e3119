"""Ordinary Keras networks of every layer that converts, with weights and statistics that are not the initial ones."""

import keras
import numpy as np

layers = keras.layers


def _cnn(x):
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="conv")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D(name="pool")(layers.Dropout(0.5)(x))
    return layers.Dense(4, activation="softmax", name="fc")(layers.Flatten()(x))


def _normalization_after_relu(x):
    x = layers.Conv2D(5, (3, 2), strides=2, activation="relu")(layers.Rescaling(1 / 256)(x))
    x = layers.AveragePooling2D(2)(layers.BatchNormalization(scale=False)(x))
    return layers.Dense(3)(layers.Flatten()(x))


def _raw_with_batch_normalization(x):
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(4, 3, groups=2, activation="relu")(layers.Conv2D(2, 1)(x))
    return layers.Dense(3, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))


def _normalized(x):
    x = layers.Normalization(mean=[100.0, 120.0, 90.0], variance=[900.0, 400.0, 2500.0])(x)
    x = layers.Conv2D(4, 3, dilation_rate=2, activation="relu")(x)
    return layers.Dense(3)(layers.GlobalMaxPooling2D()(x))


def _residual(x):
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(layers.Rescaling(1 / 256)(x))
    for stride in (1, 2):
        h = layers.Conv2D(4 * stride, 3, padding="same", strides=stride, use_bias=False)(x)
        h = layers.Activation("relu")(layers.BatchNormalization()(h))
        h = layers.BatchNormalization(center=False)(layers.Conv2D(4 * stride, 3, padding="same")(h))
        skip = x if stride == 1 else layers.Conv2D(8, 1, strides=2)(x)
        x = layers.ReLU()(layers.Add()([h, skip]))
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return layers.Softmax()(layers.Reshape((3,))(layers.Conv2D(3, 1)(x)))


def _operations(x):
    x = keras.ops.relu(layers.Conv2D(4, 3, padding="same")(layers.Rescaling(1 / 256)(x)))
    x = keras.ops.relu(x + layers.Conv2D(4, 1)(x))
    return layers.Dense(3)(layers.Flatten()(x))


def _concatenated(x):
    x = layers.ZeroPadding2D(1)(layers.Rescaling(1 / 256)(x))
    branches = [layers.BatchNormalization()(layers.Conv2D(3, k, padding="same", activation="relu")(x)) for k in (1, 3)]
    return layers.Dense(3)(layers.Flatten()(layers.Concatenate()(branches)))


def _nested(x):
    block = keras.Sequential(
        [layers.Conv2D(4, 3, use_bias=False), layers.BatchNormalization(), layers.ReLU()], name="block"
    )
    inside = keras.Input((4,))
    head = keras.Model(inside, layers.Dense(3, activation="softmax", name="fc")(inside), name="head")
    return head(layers.GlobalAveragePooling2D()(block(layers.Rescaling(1 / 256)(x))))


def _shared_relu(x):
    relu = layers.ReLU()
    x = relu(layers.Conv2D(4, 3)(layers.Rescaling(1 / 256)(x)))
    return layers.Dense(3)(layers.Flatten()(relu(layers.Conv2D(4, 1)(x))))


def _linear_bottleneck(x):
    """Products without a ReLU between them."""
    x = layers.Conv2D(2, 1)(layers.Conv2D(4, 3)(layers.Rescaling(1 / 256)(x)))
    return layers.Dense(3)(layers.Flatten()(layers.MaxPooling2D()(x)))


NETWORKS = {
    "cnn": _cnn,
    "normalization after relu": _normalization_after_relu,
    "raw with batch normalization": _raw_with_batch_normalization,
    "normalized": _normalized,
    "residual": _residual,
    "operations": _operations,
    "concatenated": _concatenated,
    "nested": _nested,
    "shared relu": _shared_relu,
    "linear bottleneck": _linear_bottleneck,
}
SHAPES = {"raw with batch normalization": (8, 8, 2)}


def network(name, dtype="float32"):
    """One of NETWORKS, with random weights and statistics."""
    image = keras.Input(SHAPES.get(name, (8, 8, 3)), dtype=dtype)
    model = randomized(keras.Model(image, NETWORKS[name](image), name="net"))
    if isinstance(model.layers[1], keras.layers.BatchNormalization):
        model.layers[1].moving_mean.assign([110.0, 140.0])
        model.layers[1].moving_variance.assign([5000.0, 3000.0])
    return model


def randomized(model, seed=0):
    """The model, its weights drawn: kernels of their fan-in's size, everything else around its initial value."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.dtype != "float32" or "normalization/mean" in variable.path:
            continue
        if variable.name == "kernel" or len(variable.shape) > 1:
            value = generator.standard_normal(variable.shape) * np.sqrt(2 / np.prod(variable.shape[:-1]))
        elif variable.name in ("gamma", "moving_variance"):
            value = generator.uniform(0.5, 2.0, variable.shape)
        else:
            value = generator.standard_normal(variable.shape) / 4
        variable.assign(value.astype(np.float32))
    return model


def pixels(model, n=16, seed=0):
    """Raw images that a model takes."""
    return np.random.default_rng(seed).integers(0, 256, (n, *model.input_shape[1:])).astype(np.uint8)
