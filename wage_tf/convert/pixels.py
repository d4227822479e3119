"""The pixels of a network that is converted: their range, the power of two that brings them to ±1, and samples."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from wage_tf import ops
from wage_tf.convert import folding
from wage_tf.convert.steps import Affine, Map, Pixels, Step
from wage_tf.convert.widths import Bits, widths_of
from wage_tf.errors import UserError

CALIBRATION_IMAGES = 256
_UNSEEN_IMAGES = 64
_FEWEST_CODES = 8


def array_of(images: np.ndarray | tf.data.Dataset) -> np.ndarray:
    """The images that are given, or the first ones of a dataset."""
    if not isinstance(images, tf.data.Dataset):
        return np.asarray(images)
    each = images.unbatch().map(lambda image, *targets: image)
    if not isinstance(each.element_spec, tf.TensorSpec):
        raise UserError(f"images: a dataset of images, with targets or without; received {images.element_spec}")
    first = list(each.take(CALIBRATION_IMAGES).as_numpy_iterator())
    return np.stack(first) if first else np.zeros((0, *each.element_spec.shape))


def range_of(network: Step, images: np.ndarray | None) -> tuple[float, float]:
    """The lowest and the highest pixel; whole numbers up to 255 are those of an image, whatever their maximum is."""
    pixels = _pixels(network)
    if images is not None:
        _check(images, pixels.shape)
    if images is not None and pixels.dtype != "uint8":
        low, high = float(np.min(images)), float(np.max(images))
        is_image = low >= 0 and 1 < high <= 255 and np.array_equal(images, np.rint(images))
        return (0.0, 255.0) if is_image else (low, high)
    if pixels.dtype != "uint8" and not _maps_after(network, pixels):
        warnings.warn(
            "images: without a Rescaling in the model its inputs are taken for raw pixels, 0 to 255; give some inputs",
            stacklevel=3,
        )
    return 0.0, 255.0


def with_rescaling(network: Step, low: float, high: float, centred: bool) -> Step:
    """The network whose pixels are brought to [−1, 1) by a power of two.

    To [0, 1) where they are not negative and what follows does not move them; `centred` moves those of colour images
    anyway, as WAGE's recipes do.
    """
    reach = max(abs(low), abs(high)) or 1.0
    power = 2.0 ** math.ceil(math.log2(reach))

    def change(step: Step, inputs: tuple[Step, ...]) -> Step:
        if not isinstance(step, Pixels):
            return dataclasses.replace(step, inputs=inputs)
        moves = (centred and step.channels > 1) or any(each.shift.any() for each in _maps_after(network, step))
        if low >= 0 and moves:
            return dataclasses.replace(step, scale=2 / power, offset=-1.0)
        return dataclasses.replace(step, scale=1 / power)

    return folding.rebuilt(network, change)


def check_channels(network: Step, bits: Bits, images: np.ndarray) -> None:
    """Warns of channels that a normalization brings to one size, after the pixels' grid has rounded them all alike."""
    pixels = _pixels(network)
    width = widths_of(network, bits)[pixels].a
    if width is None or not any(np.ptp(each.scale) for each in _maps_after(network, pixels)):
        return
    ranges = np.ptp(images.reshape(-1, images.shape[-1]).astype(np.float32), axis=0)
    codes = ranges * pixels.scale / ops.step_size(width)
    narrow = np.flatnonzero(codes < _FEWEST_CODES)
    if narrow.size:
        warnings.warn(
            f"images: {narrow.size} of {codes.size} channels, {narrow[0]} the first, have fewer than {_FEWEST_CODES} "
            "codes on the grid that all share; normalize in the input pipeline, not in the model",
            stacklevel=3,
        )


def calibration(network: Step, images: np.ndarray | None, low: float, high: float) -> np.ndarray:
    """The images on which activations are measured."""
    if images is not None:
        return images[:CALIBRATION_IMAGES]
    pixels = _pixels(network)
    if None in pixels.shape[1:]:
        raise UserError(f"model: its input is of any size, {pixels.shape[1:]}; give images")
    return np.random.default_rng(0).uniform(low, high, (_UNSEEN_IMAGES, *pixels.shape[1:])).astype(pixels.dtype)


def _pixels(network: Step) -> Pixels:
    return next(step for step in folding.in_order(network) if isinstance(step, Pixels))


def _maps_after(network: Step, step: Step) -> list[Map]:
    """The maps that follow a step, one after the other."""
    after = [each for each in folding.in_order(network) if isinstance(each, Affine) and each.inputs[0] is step]
    return [found for each in after for found in (each.map, *_maps_after(network, each))]


def _check(images: np.ndarray, shape: tuple[int | None, ...]) -> None:
    if not _fits(shape[1:], images.shape[1:]):
        raise UserError(f"images: the model takes {shape}; received {images.shape}")
    if not len(images):
        raise UserError(f"images: one at least is wanted; received {images.shape}")
    if not np.isfinite(images).all():
        raise UserError("images: has values that are not finite; leave these out")


def _fits(shape: Sequence[int | None], sizes: Sequence[int]) -> bool:
    """Whether sizes are those of a shape, in which None is any."""
    return len(shape) == len(sizes) and all(a in (None, b) for a, b in zip(shape, sizes, strict=True))
