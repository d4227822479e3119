"""An ordinary Keras model turned into a WAGE network: `quantize_model`, and what training needs with it."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from wage_tf.convert import building, floating, folding, scaling
from wage_tf.convert.loss import loss_for
from wage_tf.convert.reading import read
from wage_tf.convert.steps import Affine, Pixels, Step
from wage_tf.convert.widths import Bits, widths_of
from wage_tf.datasets import Augmentation, Dataset
from wage_tf.errors import UserError

__all__ = ["loss_for", "quantize_for", "quantize_model"]

_CALIBRATION_IMAGES = 256
_UNSEEN_IMAGES = 64


def quantize_model(
    model: keras.Model,
    bits: Bits = "2-8-8-8",
    weights: str = "keep",
    images: np.ndarray | None = None,
    use_bias: bool = True,
    fold: bool = True,
) -> keras.Model:
    """Turns a Keras model into a WAGE network of the same layers, quantized; the model itself stays as it is.

    Args:
        model: Functional or Sequential, nested or not, of Conv2D, DepthwiseConv2D, SeparableConv2D, Dense, ReLU,
            pooling, Add, Concatenate, Flatten, Reshape, ZeroPadding2D, BatchNormalization, Rescaling, Normalization
            and a softmax or sigmoid at the end, from one input to one output.
        bits: BitWidths or pattern of all layers; or a mapping from names of layers with a kernel ("rescale" for the
            input) to patterns, names with wildcards (`"block1_*"`) and `"*"` for the rest included.
        weights: "keep" starts from the model's weights, batch normalization folded into them, scaled by powers of two
            (`convert.scaling`); "fresh" from WAGE's initialization, without bias and, if folded, batch normalization.
        images: Some inputs of the model, at best a few hundred of its training images, from which the ranges of pixels
            and activations are taken. Without them pixels are 0 to 255, and activations those of uniform noise.
        use_bias: Whether kept weights keep their biases, those of folded batch normalization included.
        fold: Whether batch normalization goes into kernels and biases, which are integers then. False leaves both in as
            float32 layers, BatchNormalization and FloatBias, trained by IntegerSGD's `float_optimizer`; such a network
            does not run in integers only.

    Returns:
        A Keras model, not compiled, from what the model takes to its scores without softmax (`loss_for`).

    Raises:
        UserError: If a layer has no place in a WAGE network; one line names it, the reason and what to do.
        ValueError: If `bits` is not a pattern or `weights` not one of the two.
    """
    if weights not in ("keep", "fresh"):
        raise ValueError(f"weights: 'keep' or 'fresh'; received {weights!r}")
    network, _ = read(model)
    images = None if images is None else np.asarray(images)
    low, high = _range_of_pixels(network, images)
    network = _with_rescaling(network, low, high, centred=weights == "fresh")
    if not fold:
        network = floating.with_batch_normalization(network)
    if weights == "fresh":
        network = folding.with_scores_as_they_are(folding.without_affines(network))
        network = folding.with_quantized_inputs(network)
        return building.build(network, widths_of(network, bits), None, model.name)
    network = folding.fold(network)
    if not use_bias:
        network = folding.without_biases(network)
    if not fold:
        network = floating.with_biases(network)
    network = folding.with_quantized_inputs(folding.with_scores_as_they_are(network))
    widths = widths_of(network, bits)
    calibration = _calibration(network, images, low, high)
    samples = building.activations(network, scaling.float_weights(network), calibration)
    return building.build(network, widths, scaling.starting_weights(network, samples, widths), model.name)


def quantize_for(
    dataset: Dataset,
    model: keras.Model,
    bits: Bits = "2-8-8-8",
    augmentation: Augmentation | None = None,
    **options: Any,
) -> keras.Model:
    """`quantize_model` for training on a data set, whose first training images it is given.

    Args:
        dataset: The data.
        model: See `quantize_model`.
        bits: See `quantize_model`.
        augmentation: What the training images go through; only its crop counts here.
        **options: `weights`, `use_bias` and `fold` of `quantize_model`.

    Raises:
        UserError: As `quantize_model`, and if the model does not take the data's images or give a score for each class.
    """
    images, _ = dataset.probe_batch(_CALIBRATION_IMAGES, augmentation)
    converted = quantize_model(model, bits, images=images, **options)
    if converted.output_shape[1:] != (dataset.num_classes,):
        raise UserError(
            f"model {model.name}: gives scores of {converted.output_shape[1:]}, {dataset.name} has "
            f"{dataset.num_classes} classes; give a model of as many outputs"
        )
    return converted


def _range_of_pixels(network: Step, images: np.ndarray | None) -> tuple[float, float]:
    """The lowest and the highest pixel; whole numbers up to 255 are those of an image, whatever their maximum is."""
    steps = folding.in_order(network)
    pixels = next(step for step in steps if isinstance(step, Pixels))
    if images is not None and not _fits(pixels.shape[1:], images.shape[1:]):
        raise UserError(f"images: the model takes {pixels.shape}; received {images.shape}")
    if images is not None and not len(images):
        raise UserError(f"images: one at least is wanted; received {images.shape}")
    if images is not None and not np.isfinite(images).all():
        raise UserError("images: has values that are not finite; leave these out")
    if images is not None and pixels.dtype != "uint8":
        low, high = float(np.min(images)), float(np.max(images))
        is_image = low >= 0 and 1 < high <= 255 and np.array_equal(images, np.rint(images))
        return (0.0, 255.0) if is_image else (low, high)
    if pixels.dtype != "uint8" and not any(isinstance(each, Affine) and each.inputs[0] is pixels for each in steps):
        warnings.warn(
            "images: without a Rescaling in the model its inputs are taken for raw pixels, 0 to 255; give some inputs",
            stacklevel=3,
        )
    return 0.0, 255.0


def _with_rescaling(network: Step, low: float, high: float, centred: bool) -> Step:
    """The network whose pixels are brought to [−1, 1) by a power of two.

    To [0, 1) where they are not negative and what follows does not move them; `centred` moves those of colour images
    anyway, as WAGE's recipes do.
    """
    reach = max(abs(low), abs(high)) or 1.0
    power = 2.0 ** math.ceil(math.log2(reach))

    def change(step: Step, inputs: tuple[Step, ...]) -> Step:
        if not isinstance(step, Pixels):
            return dataclasses.replace(step, inputs=inputs)
        moves = (centred and step.channels > 1) or _moves(network, step)
        if low >= 0 and moves:
            return dataclasses.replace(step, scale=2 / power, offset=-1.0)
        return dataclasses.replace(step, scale=1 / power)

    return folding.rebuilt(network, change)


def _moves(network: Step, step: Step) -> bool:
    """Whether maps with a shift follow the pixels."""
    after = [each for each in folding.in_order(network) if isinstance(each, Affine) and each.inputs[0] is step]
    return any(each.map.shift.any() or _moves(network, each) for each in after)


def _calibration(network: Step, images: np.ndarray | None, low: float, high: float) -> np.ndarray:
    """The images on which activations are measured."""
    if images is not None:
        return images[:_CALIBRATION_IMAGES]
    pixels = next(step for step in folding.in_order(network) if isinstance(step, Pixels))
    if None in pixels.shape[1:]:
        raise UserError(f"model: its input is of any size, {pixels.shape[1:]}; give images")
    return np.random.default_rng(0).uniform(low, high, (_UNSEEN_IMAGES, *pixels.shape[1:])).astype(pixels.dtype)


def _fits(shape: Sequence[int | None], sizes: Sequence[int]) -> bool:
    """Whether sizes are those of a shape, in which None is any."""
    return len(shape) == len(sizes) and all(a in (None, b) for a, b in zip(shape, sizes, strict=True))
