"""Batch normalization and biases that stay in the network as float layers, in place of being folded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from wage_tf.convert import folding
from wage_tf.convert.steps import Affine, Map, Product, Step, identity


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class BatchNormalization(Affine):
    """γ·(x − μ)/√(v + ε) + β at the end of training: a map, folded as any.

    Attributes:
        config: Of the Keras layer.
        weights: γ, β, μ and v, as many as the layer has.
    """

    config: dict[str, object]
    weights: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FloatLayer(Step):
    """A layer of float weights in the quantized network."""

    is_quantized = False
    has_weights = True

    def weights(self, factor_in: float, factor_out: float) -> list[np.ndarray]:
        """The layer's weights where its inputs and outputs are so many times as large."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FloatBatchNormalization(FloatLayer):
    """The same as a layer of the network. On the pixels, before any kernel, it is folded as a rescaling is."""

    normalization: BatchNormalization

    def fold(self, inputs: tuple[Step, ...], maps: Sequence[Map]) -> tuple[Step, Map]:
        if maps[0].is_identity():
            return dataclasses.replace(self, inputs=inputs), identity(self.channels)
        return self.normalization.fold(inputs, maps)

    def weights(self, factor_in: float, factor_out: float) -> list[np.ndarray]:
        """γ, β, μ and v, as many as there are, where inputs and outputs are so many times as large.

        With s = `factor_in`, v' = s²·(v + ε) − ε: the layer adds the same ε again.
        """
        epsilon = self.normalization.config["epsilon"]
        changes = {
            "gamma": lambda gamma: gamma * factor_out,
            "beta": lambda beta: beta * factor_out,
            "moving_mean": lambda mean: mean * factor_in,
            "moving_variance": lambda variance: (variance + epsilon) * factor_in**2 - epsilon,
        }
        return [changes[name](value) for name, value in self.normalization.weights.items()]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FloatBias(FloatLayer):
    """The bias of the product before it, as a layer of its own."""

    bias: np.ndarray
    is_trainable: bool

    def weights(self, factor_in: float, factor_out: float) -> list[np.ndarray]:
        """The bias where inputs and outputs are so many times as large."""
        return [self.bias * factor_out]


def with_batch_normalization(output: Step) -> Step:
    """The network whose batch normalization is not folded; it gets a γ, which brings its outputs onto the grid."""

    def change(step: Step, inputs: tuple[Step, ...]) -> Step:
        if not isinstance(step, BatchNormalization):
            return dataclasses.replace(step, inputs=inputs)
        normalization = dataclasses.replace(
            step,
            inputs=inputs,
            config={**step.config, "scale": True},
            weights={"gamma": np.ones(step.channels), **step.weights},
        )
        return FloatBatchNormalization(name=step.name, inputs=inputs, shape=step.shape, normalization=normalization)

    return folding.rebuilt(output, change)


def with_biases(output: Step) -> Step:
    """The network whose biases are layers; one that batch normalization takes away again goes into its mean."""

    def change(step: Step, inputs: tuple[Step, ...]) -> Step:
        if isinstance(step, Product) and step.bias is not None:
            product = dataclasses.replace(step, inputs=inputs, bias=None)
            name, is_trainable = f"{step.name}_bias", step.settings["trainable"]
            return FloatBias(name=name, inputs=(product,), shape=step.shape, bias=step.bias, is_trainable=is_trainable)
        if isinstance(step, FloatBatchNormalization) and isinstance(inputs[0], FloatBias):
            weights = step.normalization.weights
            weights = {**weights, "moving_mean": weights["moving_mean"] - inputs[0].bias}
            normalization = dataclasses.replace(step.normalization, weights=weights)
            return dataclasses.replace(step, inputs=inputs[0].inputs, normalization=normalization)
        return dataclasses.replace(step, inputs=inputs)

    return folding.rebuilt(output, change)
