"""The paper's networks, built from wage_tf's layers; every one takes raw uint8 images.

model = models.build("vgg7", "2-8-8-8", input_shape=(32, 32, 3), num_classes=10, width=0.25)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras

from models.alexnet import alexnet
from models.blocks import Bits
from models.lenet5 import lenet5
from models.mlp import mlp
from models.vgg7 import vgg7
from wage_tf.errors import UserError

_BUILDERS = {"alexnet": alexnet, "lenet5": lenet5, "mlp": mlp, "vgg7": vgg7}
_SMALLEST_SIDE = {"alexnet": 63, "lenet5": 16, "mlp": 1, "vgg7": 8}

names = tuple(_BUILDERS)

__all__ = ["alexnet", "build", "lenet5", "mlp", "names", "vgg7"]


def build(
    name: str,
    bits: Bits,
    input_shape: Sequence[int],
    num_classes: int,
    width: float = 1.0,
    **kernel_options: object,
) -> keras.Model:
    """Builds a network by name.

    Args:
        name: `"alexnet"`, `"lenet5"`, `"mlp"` or `"vgg7"`.
        bits: BitWidths or pattern of all layers; or a mapping from block names ("conv1", "fc1", and "rescale" for the
            input) to patterns, with "*" for the rest.
        input_shape: Height, width and channels of the images.
        num_classes: Number of outputs.
        width: Multiplier of every hidden layer's units.
        **kernel_options: Arguments of every QConv2D and QDense, such as `beta=1.5` or `factor=2` for the paper's.

    Returns:
        A Keras model from uint8 images [batch, height, width, channels] to float32 scores [batch, classes].

    Raises:
        UserError: If the name is unknown, the images are too small for the network, the width is not positive, or a
            mapping names a block that the network does not have or lacks one that it has.
    """
    if name not in _BUILDERS:
        raise UserError(f"model: {name!r} is not one of {', '.join(names)}")
    if min(input_shape[:2]) < _SMALLEST_SIDE[name]:
        side = _SMALLEST_SIDE[name]
        raise UserError(f"model: {name} needs images of at least {side}x{side} pixels; received {tuple(input_shape)}")
    if not width > 0:
        raise UserError(f"width: a positive multiplier; received {width!r}")
    model = _BUILDERS[name](bits, tuple(input_shape), num_classes, width, **kernel_options)
    if isinstance(bits, Mapping):
        blocks = {layer.name for layer in model.layers if hasattr(layer, "bits")}
        unknown = sorted(set(bits) - blocks - {"*"})
        if unknown:
            raise UserError(f"bits: {name} has no block {unknown[0]!r}; received {', '.join(sorted(bits))}")
    return model
