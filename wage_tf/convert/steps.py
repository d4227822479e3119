"""The steps that a Keras model is read into, and how each takes in a batch normalization or a rescaling.

A network is the step of its output, whose `inputs` lead back to its pixels. Steps do not change; folding
makes new ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from wage_tf.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Map:
    """y = scale·x + shift for every channel, float64 [channels]."""

    scale: np.ndarray
    shift: np.ndarray

    def then(self, following: Map) -> Map:
        """This map followed by another."""
        return Map(self.scale * following.scale, self.shift * following.scale + following.shift)

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> Map:
        """The map whose scale and shift are those of this one, rearranged."""
        return Map(change(self.scale), change(self.shift))

    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return bool((self.scale == 1).all() and (self.shift == 0).all())

    def equals(self, other: Map) -> bool:
        """Whether both map every channel alike."""
        return np.array_equal(self.scale, other.scale) and np.array_equal(self.shift, other.shift)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Step:
    """One operation on an activation tensor.

    Attributes:
        name: Of the layer that it was read from, after those of the models around it.
        inputs: The steps before it.
        shape: Of its output, batch first.
    """

    name: str
    inputs: tuple[Step, ...] = ()
    shape: tuple[int | None, ...]

    is_quantized: ClassVar[bool | None] = None
    """Whether the output lies on the grid of activations; None where it does if all inputs do."""

    has_weights: ClassVar[bool] = False
    """Whether it is a layer of its own weights in the quantized network."""

    @property
    def channels(self) -> int:
        """Size of the last axis."""
        return self.shape[-1]

    def fold(self, inputs: tuple[Step, ...], maps: Sequence[Map]) -> tuple[Step, Map]:
        """Takes in the maps that the true inputs are of the given ones.

        Args:
            inputs: Folded inputs x.
            maps: The map of each to the input that this step had before, scale·x + shift.

        Returns:
            The folded step, and the map of its output to the output that this step had before.

        Raises:
            UserError: If the step does not commute with the map.
        """
        return dataclasses.replace(self, inputs=inputs), self.carry(maps)

    def carry(self, maps: Sequence[Map]) -> Map:
        """The map of the output, where the step computes on its input as it is."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Pixels(Step):
    """The network's input: x = pixel·scale + offset, both powers of two or 0.

    Attributes:
        dtype: Of the pixels.
    """

    dtype: str
    scale: float = 1.0
    offset: float = 0.0

    is_quantized = True

    def fold(self, inputs: tuple[Step, ...], maps: Sequence[Map]) -> tuple[Step, Map]:
        ones = np.ones(self.channels)
        return self, Map(ones / self.scale, ones * (0.0 - self.offset / self.scale))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Affine(Step):
    """Batch normalization at inference, Rescaling or Normalization: a map of each channel."""

    map: Map

    def fold(self, inputs: tuple[Step, ...], maps: Sequence[Map]) -> tuple[Step, Map]:
        """Goes into the product before it, or on to those after it."""
        (step,), (before,) = inputs, maps
        if isinstance(step, Product) and before.is_identity():
            return step.map_outputs(self.map), before
        return step, before.then(self.map)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Product(Step):
    """A layer with a kernel.

    Attributes:
        source: Name of the Keras layer, where `name` is that of a part of it.
        settings: Arguments of the quantized layer.
        kernel: Float64.
        bias: Float64 [channels], or None.
    """

    source: str
    settings: dict[str, Any]
    kernel: np.ndarray
    bias: np.ndarray | None

    is_quantized = False
    has_weights = True

    def fold(self, inputs: tuple[Step, ...], maps: Sequence[Map]) -> tuple[Step, Map]:
        folded = dataclasses.replace(self, inputs=inputs)
        if not maps[0].is_identity():
            folded = folded.map_inputs(maps[0])
        return folded, identity(self.channels)

    def map_outputs(self, following: Map) -> Product:
        """The product followed by a map: W·scale for every output, bias·scale + shift."""
        bias = np.zeros(self.channels) if self.bias is None else self.bias
        bias = bias * following.scale + following.shift
        kernel = self.kernel * following.scale.reshape(self._outputs())
        return dataclasses.replace(self, kernel=kernel, bias=bias)

    def map_inputs(self, preceding: Map) -> Product:
        """The product of a mapped input: W·scale for every input, bias + Σ W·shift.

        Exact but for the border of a convolution that pads: its zeros stand for zeros of x, not of scale·x + shift.
        """
        shift = (self.kernel * self._by_inputs(preceding.shift)).reshape(-1, *self._outputs())
        bias = self.bias
        if preceding.shift.any():
            bias = (0.0 if bias is None else bias) + shift.sum(0).reshape(-1)
        return dataclasses.replace(self, kernel=self.kernel * self._by_inputs(preceding.scale), bias=bias)

    def _outputs(self) -> tuple[int, ...]:
        """The part of the kernel's shape that counts outputs."""
        return self.kernel.shape[-1:]

    def _by_inputs(self, values: np.ndarray) -> np.ndarray:
        """One value for each input channel, in a shape that multiplies with the kernel."""
        return values[:, None]


class Dense(Product):
    """Fully connected; kernel [inputs, units]."""


class Conv2D(Product):
    """Convolution; kernel [height, width, channels / groups, filters]."""

    def _by_inputs(self, values: np.ndarray) -> np.ndarray:
        groups = self.settings["groups"]
        return np.repeat(values.reshape(groups, -1), self.channels // groups, axis=0).T


class DepthwiseConv2D(Product):
    """Convolution of every channel alone; kernel [height, width, channels, depth_multiplier]."""

    def _outputs(self) -> tuple[int, ...]:
        return self.kernel.shape[-2:]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Activation(Step):
    """ReLU and the activations' grid, or the grid alone.

    Attributes:
        function: "relu", "relu6" or None.
    """

    function: str | None = "relu"

    is_quantized = True

    def carry(self, maps: Sequence[Map]) -> Map:
        if self.function and (maps[0].shift.any() or (maps[0].scale <= 0).any()):
            raise cannot(
                self.name,
                "what is before this ReLU, a batch normalization without a convolution or Dense right before it, "
                "cannot be folded",
                "put a convolution in between, or convert with weights='fresh', which leaves batch normalization out",
            )
        return maps[0]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class End(Step):
    """Softmax or sigmoid at the end, which the loss takes over; not part of the network."""

    activation: str


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Passing(Step):
    """A Keras layer without weights that the quantized network takes as it is; commutes with every map.

    Attributes:
        layer_class: Of the Keras layer.
        config: Its configuration.
    """

    layer_class: Any
    config: dict[str, Any]

    def carry(self, maps: Sequence[Map]) -> Map:
        return maps[0]


class MaxPooling(Passing):
    """Max pooling: commutes with maps of positive scale."""

    def carry(self, maps: Sequence[Map]) -> Map:
        if (maps[0].scale <= 0).any():
            raise cannot(
                self.name,
                "the batch normalization before it has a gamma that is not positive, so that it cannot be folded",
                "convert with weights='fresh'",
            )
        return maps[0]


class Averaging(Passing):
    """Average pooling: commutes with every map; the averages are finer than the grid."""

    is_quantized = False


class Flatten(Passing):
    """Flatten, and Reshape where its last axis is whole channels."""

    def carry(self, maps: Sequence[Map]) -> Map:
        channels = len(maps[0].scale)
        if self.channels % channels:
            first = maps[0].each(lambda values: values[:1])
            if not maps[0].equals(first.each(lambda values: np.repeat(values, channels))):
                raise cannot(self.name, "the batch normalization before it cannot be folded", FRESH)
            return first.each(lambda values: np.repeat(values, self.channels))
        return maps[0].each(lambda values: np.tile(values, self.channels // channels))


class Add(Passing):
    """Sum of branches: commutes where all have one map."""

    is_quantized = False

    def carry(self, maps: Sequence[Map]) -> Map:
        if not all(other.equals(maps[0]) for other in maps[1:]) or maps[0].shift.any():
            raise cannot(
                self.name,
                "its branches differ by a batch normalization or by the scaling of the pixels, which cannot be folded",
                "put a convolution or Dense right before the sum, or convert with weights='fresh'",
            )
        return maps[0]


class Concatenate(Passing):
    """Branches side by side, along the channels."""

    def carry(self, maps: Sequence[Map]) -> Map:
        return Map(np.concatenate([each.scale for each in maps]), np.concatenate([each.shift for each in maps]))


FRESH = "put a convolution or Dense right before the batch normalization, or convert with weights='fresh'"


def identity(channels: int) -> Map:
    """The map that changes nothing."""
    return Map(np.ones(channels), np.zeros(channels))


def cannot(name: str, reason: str, remedy: str) -> UserError:
    """The one line that refuses a model: layer, reason, what to do."""
    return UserError(f"layer {name}: {reason}; {remedy}")
