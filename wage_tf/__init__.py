"""Training and inference with low-bit integers (WAGE, Wu et al., ICLR 2018) on TensorFlow 2 and Keras 3.

On a machine without TensorFlow only `wage_tf.integer` and `wage_tf.export` are there, which read packed files and run
them in NumPy.
"""

import os as _os

from wage_tf import integer, quiet
from wage_tf.bits import BitWidths

_os.environ.setdefault("KERAS_BACKEND", "tensorflow")

with quiet.importing_tensorflow():
    try:
        from wage_tf import (
            callbacks,
            constraints,
            costs,
            datasets,
            initializers,
            layers,
            losses,
            metrics,
            ops,
            optimizers,
            quantizers,
            recipes,
        )
        from wage_tf.integer.verify import verify
    except ModuleNotFoundError as _error:
        if _error.name not in ("tensorflow", "keras"):
            raise

__version__ = "0.1.0"
__all__ = [
    "BitWidths",
    "callbacks",
    "constraints",
    "costs",
    "datasets",
    "initializers",
    "integer",
    "layers",
    "losses",
    "metrics",
    "ops",
    "optimizers",
    "quantizers",
    "recipes",
    "verify",
]
