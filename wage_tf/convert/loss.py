"""The loss of a converted network: that of the model it came from, on scores."""

from __future__ import annotations

import warnings
from types import FunctionType

import keras

from wage_tf.convert.reading import read
from wage_tf.losses import SumSquaredError

_KINDS = {
    keras.losses.mean_squared_error: SumSquaredError,
    keras.losses.categorical_crossentropy: keras.losses.CategoricalCrossentropy,
    keras.losses.sparse_categorical_crossentropy: keras.losses.SparseCategoricalCrossentropy,
    keras.losses.categorical_focal_crossentropy: keras.losses.CategoricalFocalCrossentropy,
    keras.losses.binary_crossentropy: keras.losses.BinaryCrossentropy,
    keras.losses.binary_focal_crossentropy: keras.losses.BinaryFocalCrossentropy,
}
_CATEGORICAL = (
    keras.losses.CategoricalCrossentropy,
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
)
_BINARY = (keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy)
_FITTING = {
    "softmax": _CATEGORICAL,
    "sigmoid": (*_BINARY, *_CATEGORICAL),
    None: (SumSquaredError, *_CATEGORICAL, *_BINARY),
}
"""The losses of scores before each activation; the first is that of a model without one of them."""


def loss_for(model: keras.Model) -> keras.losses.Loss:
    """The loss for the scores of the quantized network, which has no softmax: summed over the batch, as WAGE's are.

    Args:
        model: The model that is converted, not the quantized one.

    Returns:
        The cross-entropy that the model is compiled with, from logits, its other settings kept; else categorical
        cross-entropy after softmax, binary after sigmoid, and ½·Σ(y − t)² where the model ends in neither. Where that
        is another loss than the model's, a warning says so.

    Raises:
        UserError: As `quantize_model`.
    """
    _, end = read(model)
    compiled = keras.losses.get(next(iter(keras.tree.flatten(getattr(model, "loss", None))), None))
    own = _KINDS.get(getattr(compiled, "fn", compiled), type(compiled))
    kind = own if own in _FITTING[end] else _FITTING[end][0]
    is_own = kind is own and type(compiled) in (kind, FunctionType, keras.losses.MeanSquaredError)
    if compiled is not None and not is_own:
        name = getattr(compiled, "__name__", type(compiled).__name__)
        warnings.warn(f"loss: the model's {name} is not taken over; {kind.__name__} stands in for it", stacklevel=2)
    if kind is SumSquaredError:
        return SumSquaredError()
    settings = compiled.get_config() if type(compiled) is kind else {}
    return kind.from_config({**settings, "from_logits": True, "reduction": "sum"})
