"""A run that begins with the Keras model that a user already has: `train.py --from model.keras`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import keras

from wage_tf import convert
from wage_tf.datasets import Augmentation, Dataset
from wage_tf.errors import UserError
from wage_tf.runs.documents import Bits, Document, Text
from wage_tf.runs.model_file import compiled_loss, load_model


class Source(Document):
    """A `.keras` file that a run's network is converted from.

    Attributes:
        path: The file.
        digest: BLAKE2 digest of its content.
        weights: "keep" starts from the model's weights, "fresh" from WAGE's initialization.
    """

    path: Text
    digest: Text
    weights: Literal["keep", "fresh"]

    @classmethod
    def of(cls, path: str, weights: Literal["keep", "fresh"]) -> Source:
        """Describes a file.

        Raises:
            UserError: If there is none.
        """
        return cls(path=path, digest=_digest(path), weights=weights)

    def load(self) -> keras.Model:
        """Reads the model.

        Raises:
            UserError: If the file is gone, damaged or another than the run began with.
        """
        if _digest(self.path) != self.digest:
            raise UserError(f"{self.path} is not the model that the run began with: restore it, or start a new run")
        return load_model(self.path)

    @property
    def loss(self) -> str:
        """The name in `losses.NAMED` of the loss that the model was compiled with or ends in (`convert.loss_for`)."""
        model = self.load()
        model.compile(loss=compiled_loss(self.path))
        is_entropy = isinstance(convert.loss_for(model), _ENTROPIES)
        return "softmax_cross_entropy" if is_entropy else "sum_squared_error"

    def converted(self, dataset: Dataset, bits: Bits, augmentation: Augmentation | None) -> keras.Model:
        """The model as a WAGE network for a data set.

        Raises:
            UserError: If it has a layer that no WAGE network has, or does not fit the data.
        """
        return convert.quantize_for(dataset, self.load(), bits.as_json(), augmentation, weights=self.weights)


_ENTROPIES = (
    keras.losses.CategoricalCrossentropy,
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
)


def _digest(path: str) -> str:
    try:
        return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"there is no model file {path}: give a .keras file") from None
