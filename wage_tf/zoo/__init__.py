"""Pretrained networks that come with the wheel, each with its stored weights, so that training goes on from them.

```python
model = wage_tf.zoo.load("lenet5-mnist")  # a Keras model: predict, verify, export_model, quantize further, train on
graph = wage_tf.zoo.graph("lenet5-mnist")  # the same network in integers, which needs no TensorFlow
print(wage_tf.zoo.card("lenet5-mnist"))  # data, command, error, size, energy, licence
```

A network is a packed file (`wage_tf.export.packed`), compressed, and a card beside it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import lzma
from importlib import resources
from typing import TYPE_CHECKING, Any

from wage_tf.errors import UserError
from wage_tf.export.packed import from_bytes
from wage_tf.integer.graph import Graph

if TYPE_CHECKING:
    import keras

__all__ = ["ModelCard", "card", "graph", "load", "names"]


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What is known of a pretrained network.

    Attributes:
        name: Its name in the zoo.
        network: Of `wage_tf.models`, or the name of the Keras file that it was converted from.
        bits: Bit widths W-A-G-E.
        dataset: What it was trained on, a name of `wage_tf.datasets`.
        labels: Names of the classes, in the order of the scores.
        test_error: Percent of the data's test images that it gets wrong.
        epochs: Passes over the training images.
        command: What trained it.
        seed: Of that run.
        commit: Of the code that ran.
        weights: Number of weights.
        size: Bytes of the packed file for inference, without the stored weights.
        macs: Multiply-accumulates of one image.
        energy: µJ of the arithmetic of one image, by `wage_tf.costs`.
        licence: Of the weights and of the data that they come from.
        sha256: Checksum of the compressed packed file.
    """

    name: str
    network: str
    bits: str
    dataset: str
    labels: tuple[str, ...]
    test_error: float
    epochs: int
    command: str
    seed: int
    commit: str
    weights: int
    size: int
    macs: int
    energy: float
    licence: str
    sha256: str

    def __str__(self) -> str:
        fields = dataclasses.asdict(self)
        return "\n".join(f"{name:<12}{value}" for name, value in {**fields, "labels": ", ".join(self.labels)}.items())


def names() -> tuple[str, ...]:
    """The names that `load` takes."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in files if name.endswith(".json")))


def card(name: str) -> ModelCard:
    """What is known of a network.

    Raises:
        UserError: If there is none of that name.
    """
    fields = _document(name)["card"]
    return ModelCard(**{**fields, "labels": tuple(fields["labels"])})


def graph(name: str) -> Graph:
    """A network in integers, with its stored weights.

    Raises:
        UserError: If there is none of that name, or its file is damaged.
    """
    expected, content = card(name).sha256, (resources.files(__name__) / f"{name}.wage.xz").read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise UserError(f"zoo: {name} is damaged: its checksum does not fit the card's; install wage-tf again")
    return from_bytes(lzma.decompress(content))[0]


def load(name: str) -> keras.Model:
    """A network as a Keras model, not compiled.

    It predicts as it is. To train on, compile it as a new one:

    ```python
    model.compile(wage_tf.optimizers.IntegerSGD(1.0), wage_tf.losses.SumSquaredError())
    ```

    Args:
        name: One of `names()`.

    Returns:
        A model of `wage_tf.layers` that takes uint8 images [batch, height, width, channels]; its scores are float32
        [batch, classes].

    Raises:
        UserError: If there is none of that name, or its file is damaged.
    """
    import keras

    from wage_tf.integer.weights import assign

    model = keras.saving.deserialize_keras_object(_document(name)["model"])
    assign(model, graph(name))
    return model


def _document(name: str) -> dict[str, Any]:
    if name not in names():
        raise UserError(f"zoo: one of {', '.join(names())}; received {name!r}")
    return json.loads((resources.files(__name__) / f"{name}.json").read_text())
