"""Walks the graph of a Keras model, which Keras clones for it with a reader in place of every layer's call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras

from wage_tf.convert.steps import Step
from wage_tf.errors import UserError

StepsOf = Callable[[keras.Layer, str, tuple[Step, ...]], list[Step]]


def functional(model: keras.Model, name: str) -> keras.Model:
    """A functional model of a model's layers, which nobody has compiled.

    Args:
        model: Functional or Sequential.
        name: Of the model, after those of the models around it.

    Raises:
        UserError: If the model is not built, or computes something else than its graph says.
    """
    if not model.built:
        raise UserError(f"model {name}: is not built; call it on a batch, or begin it with keras.Input")
    graph = keras.Model(model.inputs, model.outputs) if getattr(model, "inputs", None) else None
    if graph is None or (not isinstance(model, keras.Sequential) and type(model).call is not type(graph).call):
        raise UserError(
            f"model {name}: a subclass with a call() of its own cannot be read; "
            "write it with keras.Sequential or keras.Model(inputs, outputs)"
        )
    return graph


def trace(graph: keras.Model, inputs: Sequence[Step], prefix: str, steps_of: StepsOf) -> list[Step]:
    """The steps of a functional model's outputs.

    Args:
        graph: The model.
        inputs: The steps of its inputs.
        prefix: Of its layers' names.
        steps_of: Reads the call of a layer, given its name and inputs, into the steps of its outputs.
    """
    tensors = [keras.Input(batch_shape=each.shape, dtype=each.dtype) for each in graph.inputs]
    found = dict(zip(tensors, inputs, strict=True))

    def call(layer: keras.Layer, *args: object, **kwargs: object) -> list[keras.KerasTensor]:
        arrived = [each for each in keras.tree.flatten((args, kwargs)) if isinstance(each, keras.KerasTensor)]
        steps = steps_of(layer, f"{prefix}{layer.name}", tuple(found[each] for each in arrived))
        outputs = _Read(steps)(*arrived)
        found.update(zip(outputs, steps, strict=True))
        return outputs

    clone = keras.models.clone_model(graph, tensors, clone_function=lambda layer: layer, call_function=call)
    return [found[each] for each in clone.outputs]


class _Read(keras.Operation):
    """Stands for the call of a layer that was read as steps, between the tensors that Keras connects."""

    def __init__(self, steps: Sequence[Step]):
        super().__init__()
        self.steps = steps

    def compute_output_spec(self, *inputs: keras.KerasTensor) -> list[keras.KerasTensor]:
        return [keras.KerasTensor(step.shape) for step in self.steps]
