"""Networks built from wage_tf's layers: the paper's, and small residual, separable and dense ones of today.

Every one takes raw uint8 images and scores classes; `autoencoder` gives back what it takes, and vectors will do.

```python
model = models.build("vgg7", "2-8-8-8", input_shape=(32, 32, 3), num_classes=10, width=0.25)
```
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras

from wage_tf.bits import NetworkBits
from wage_tf.errors import UserError

from .alexnet import alexnet
from .autoencoder import autoencoder
from .blocks import Bits, pixel_scale
from .ds_cnn import ds_cnn
from .lenet5 import lenet5
from .mlp import mlp, mlp_100_50, mlp_200_100_50
from .mobilenet import mobilenet
from .resnet import resnet8, resnet20
from .vgg7 import vgg7
from .vgg8b import vgg8b


class _Network(NamedTuple):
    """A builder, the smallest side of the images that it takes, and whether it gives them back."""

    build: Callable[..., keras.Model]
    smallest_side: int
    reconstructs: bool = False


_NETWORKS = {
    "alexnet": _Network(alexnet, 63),
    "autoencoder": _Network(autoencoder, 1, reconstructs=True),
    "ds_cnn": _Network(ds_cnn, 4),
    "lenet5": _Network(lenet5, 16),
    "mlp": _Network(mlp, 1),
    "mlp_100_50": _Network(mlp_100_50, 1),
    "mlp_200_100_50": _Network(mlp_200_100_50, 1),
    "mobilenet": _Network(mobilenet, 32),
    "resnet8": _Network(resnet8, 4),
    "resnet20": _Network(resnet20, 4),
    "vgg7": _Network(vgg7, 8),
    "vgg8b": _Network(vgg8b, 16),
}

names = tuple(_NETWORKS)
"""Names of the networks that `build` takes."""

__all__ = [
    "alexnet",
    "autoencoder",
    "build",
    "clips_outputs",
    "ds_cnn",
    "lenet5",
    "mlp",
    "mlp_100_50",
    "mlp_200_100_50",
    "mobilenet",
    "names",
    "pixel_scale",
    "reconstructs",
    "resnet8",
    "resnet20",
    "vgg7",
    "vgg8b",
]


def build(
    name: str,
    bits: Bits,
    input_shape: Sequence[int],
    num_classes: int,
    width: float = 1.0,
    **options: object,
) -> keras.Model:
    """Builds a network by name.

    Args:
        name: One of `models.names`.
        bits: BitWidths or pattern of all layers; or a mapping from block names ("conv1", "block1_conv2", "fc1", and
            "rescale" for the input) to patterns, with "*" for the rest.
        input_shape: Height, width and channels of the images.
        num_classes: Number of outputs; a network that gives its images back has as many as these have numbers.
        width: Multiplier of every hidden layer's units.
        **options: `clip_outputs`, whether Q_A clips the outputs (None: as the network does it); `gamma` of every
            QActivation and QError; and arguments of every layer with a kernel, such as `beta=1.5` or `factor=2`.

    Returns:
        A Keras model from uint8 images [batch, height, width, channels] to float32 scores [batch, outputs].

    Raises:
        UserError: If the name is unknown, the images are too small for the network, the width is not positive, or a
            mapping names a block that the network does not have or lacks one that it has.
    """
    network = _network(name)
    if min(input_shape[:2]) < network.smallest_side:
        side = network.smallest_side
        raise UserError(f"model: {name} needs images of at least {side}x{side} pixels; received {tuple(input_shape)}")
    if not width > 0:
        raise UserError(f"width: a positive multiplier; received {width!r}")
    bits = NetworkBits.parse(bits)
    if options.get("clip_outputs", 0) is None:
        del options["clip_outputs"]
    outputs = () if network.reconstructs else (num_classes,)
    model = network.build(bits, tuple(input_shape), *outputs, width, **options)
    blocks = {layer.name for layer in model.layers if hasattr(layer, "bits")}
    unknown = sorted({block for block, _ in bits.blocks} - blocks)
    if unknown:
        raise UserError(f"bits: {name} has no block {unknown[0]!r}; received {bits}")
    return model


def clips_outputs(name: str) -> bool:
    """Whether Q_A clips the outputs of a network, unless it is built otherwise.

    Raises:
        UserError: If the name is unknown.
    """
    return inspect.signature(_network(name).build).parameters["clip_outputs"].default


def reconstructs(name: str) -> bool:
    """Whether a network gives back its images and has no classes.

    Raises:
        UserError: If the name is unknown.
    """
    return _network(name).reconstructs


def _network(name: str) -> _Network:
    if name not in _NETWORKS:
        raise UserError(f"model: {name!r} is not one of {', '.join(names)}")
    return _NETWORKS[name]
