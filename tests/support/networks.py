"""Fresh networks as integer graphs."""

import keras

import models
from support.tensors import plain_operations
from wage_tf import integer


def frozen(name, bits="2-8-8-8", shape=(12, 12, 1), width=0.1, classes=10):
    """The graph of a network from `models`, the same one every time."""
    keras.utils.set_random_seed(0)
    with plain_operations():
        return integer.freeze(models.build(name, bits, shape, classes, width=width))


NETWORKS = [
    ("lenet5", "2-8-8-8", (16, 16, 1), 0.25),
    ("lenet5", "1-4-8-8", (17, 16, 3), 0.25),
    ("vgg7", "8-8-8-8", (12, 9, 3), 0.1),
    ("vgg7", "3-3-8-8", (16, 16, 1), 0.05),
    ("alexnet", "2-8-8-8", (67, 63, 3), 0.05),
    ("mlp", "2-2-8-8", (3, 4, 3), 0.05),
    ("resnet8", "2-8-8-8", (16, 16, 3), 0.25),
    ("ds_cnn", "2-8-8-8", (24, 10, 1), 0.1),
    ("mobilenet", "2-8-8-8", (32, 32, 3), 0.1),
    ("autoencoder", "2-8-8-8", (40,), 0.1),
]
"""Those that every form of export is compared with the engine on: name, pattern, shape of an image, width."""
