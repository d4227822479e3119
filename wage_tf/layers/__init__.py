"""Keras layers whose weights, activations and errors are low-bit integers."""

from wage_tf.layers.activations import QActivation, QError, QRescaling
from wage_tf.layers.bias import FloatBias
from wage_tf.layers.conv2d import QConv2D
from wage_tf.layers.dense import QDense
from wage_tf.layers.depthwise import QDepthwiseConv2D
from wage_tf.layers.pooling import QGlobalMaxPooling2D

__all__ = [
    "FloatBias",
    "QActivation",
    "QConv2D",
    "QDense",
    "QDepthwiseConv2D",
    "QError",
    "QGlobalMaxPooling2D",
    "QRescaling",
]
