"""Training and inference with low-bit integers (WAGE, Wu et al., ICLR 2018) on TensorFlow 2 and Keras 3."""

import os as _os

_os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from wage_tf import constraints, initializers, layers, losses, metrics, ops, optimizers, quantizers
from wage_tf.bits import BitWidths

__version__ = "0.1.0"
__all__ = [
    "BitWidths",
    "constraints",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "ops",
    "optimizers",
    "quantizers",
]
