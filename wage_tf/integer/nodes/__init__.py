"""The kinds of node that an integer graph is made of; a new kind is a class in this folder and a name in `KINDS`."""

from wage_tf.integer.nodes.base import Node
from wage_tf.integer.nodes.merging import Add, Concatenate
from wage_tf.integer.nodes.parameters import Bias, Kernel
from wage_tf.integer.nodes.pooling import AveragePool2D, MaxPool2D
from wage_tf.integer.nodes.products import Conv2D, Dense, Product
from wage_tf.integer.nodes.quantizers import Activation, Error, Identity, Relu
from wage_tf.integer.nodes.rescale import Rescale
from wage_tf.integer.nodes.shaping import Flatten, Reshape, ZeroPad2D

KINDS: dict[str, type[Node]] = {
    kind.__name__: kind
    for kind in (
        Rescale,
        Conv2D,
        Dense,
        MaxPool2D,
        AveragePool2D,
        Flatten,
        Reshape,
        ZeroPad2D,
        Add,
        Concatenate,
        Activation,
        Relu,
        Error,
        Identity,
    )
}

__all__ = [
    "KINDS",
    "Activation",
    "Add",
    "AveragePool2D",
    "Bias",
    "Concatenate",
    "Conv2D",
    "Dense",
    "Error",
    "Flatten",
    "Identity",
    "Kernel",
    "MaxPool2D",
    "Node",
    "Product",
    "Relu",
    "Rescale",
    "Reshape",
    "ZeroPad2D",
]
