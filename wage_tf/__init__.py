"""Training and inference with low-bit integers (WAGE, Wu et al., ICLR 2018) on TensorFlow 2 and Keras 3.

On a machine without TensorFlow only `wage_tf.integer`, `wage_tf.export` and `wage_tf.zoo` are there: packed files are
read and run in NumPy.
"""

from wage_tf._program import is_ours
from wage_tf.bits import BitWidths

# One of our own commands reads its arguments first, then imports what it needs.
if not is_ours():
    import os as _os

    from wage_tf import export, integer, zoo

    _os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        import tensorflow as _tensorflow  # noqa: F401  without it a backend does not matter
        from keras.config import backend as _backend

        if _backend() != "tensorflow":
            raise ImportError(
                f"wage_tf needs Keras on TensorFlow, but Keras runs on {_backend()}: set "
                "KERAS_BACKEND=tensorflow before the first import of Keras"
            )
        from wage_tf import (
            callbacks,
            constraints,
            convert,
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
        from wage_tf.convert import quantize_model
        from wage_tf.integer.verify import verify
        from wage_tf.model_summary import summary
    except ModuleNotFoundError as _error:
        if _error.name not in ("tensorflow", "keras"):
            raise

__version__ = "0.2.0"
__all__ = [
    "BitWidths",
    "callbacks",
    "constraints",
    "convert",
    "costs",
    "datasets",
    "export",
    "initializers",
    "integer",
    "layers",
    "losses",
    "metrics",
    "ops",
    "optimizers",
    "quantize_model",
    "quantizers",
    "recipes",
    "summary",
    "verify",
    "zoo",
]
