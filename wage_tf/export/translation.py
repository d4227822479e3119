"""A network in another format, stage by stage: each kind of node adds what the format's registry says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wage_tf.errors import UserError
from wage_tf.export.stages import Stages
from wage_tf.integer.graph import IMAGES
from wage_tf.integer.nodes import (
    Activation,
    Add,
    AveragePool2D,
    Concatenate,
    Conv2D,
    Dense,
    Flatten,
    MaxPool2D,
    Node,
    Relu,
    Rescale,
    Reshape,
    ZeroPad2D,
)

Registry = Mapping[type[Node], Callable[..., Any]]
"""What every kind of node adds to a model of another format."""

_KINDS: dict[str, tuple[type[Node], ...]] = {
    "rescale": (Rescale,),
    "product": (Conv2D, Dense),
    "max_pool": (MaxPool2D,),
    "average_pool": (AveragePool2D,),
    "add": (Add,),
    "rounding": (Activation, Relu),
    "concatenate": (Concatenate,),
    "zero_pad": (ZeroPad2D,),
    "reshape": (Flatten, Reshape),
}


def registry(**adding: Callable[..., Any]) -> Registry:
    """The registry of a format, which says what it adds for every entry of `_KINDS`."""
    return {kind: adding[name] for name, kinds in _KINDS.items() for kind in kinds}


def translated(network: Stages, model: Any, image: Any, kinds: Registry, form: str) -> Any:
    """Adds every stage to a model of another format, and returns what its last one became there.

    Args:
        network: The stages.
        model: Takes them.
        image: What the input is in it.
        kinds: What a kind of node adds, called with the model, the stage and what its inputs became.
        form: Name of the format, for the message.

    Raises:
        UserError: If the format lacks a kind.
    """
    values = {IMAGES: image}
    for stage in network.stages:
        add = kinds.get(type(stage.node))
        if add is None:
            raise UserError(f"{form} export: {stage.node.name}: {type(stage.node).__name__} has no such form")
        values[stage.name] = add(model, stage, *(values[name] for name in stage.inputs))
    return values[network.stages[-1].name]
