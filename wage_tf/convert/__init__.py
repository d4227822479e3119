"""An ordinary Keras model turned into a WAGE network: `quantize_model`, and what training needs with it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from wage_tf.convert import building, floating, folding, pixels, scaling
from wage_tf.convert.loss import loss_for
from wage_tf.convert.reading import read
from wage_tf.convert.widths import Bits, widths_of
from wage_tf.datasets import Augmentation, Dataset
from wage_tf.errors import UserError

__all__ = ["loss_for", "quantize_for", "quantize_model"]


def quantize_model(
    model: keras.Model,
    bits: Bits = "2-8-8-8",
    weights: str = "keep",
    images: np.ndarray | tf.data.Dataset | None = None,
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
            and activations are taken; of a `tf.data.Dataset` of batches, with targets or without, the first 256.
            Without them pixels are 0 to 255, and activations those of uniform noise.
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
    images = None if images is None else pixels.array_of(images)
    low, high = pixels.range_of(network, images)
    network = pixels.with_rescaling(network, low, high, centred=weights == "fresh")
    if images is not None:
        pixels.check_channels(network, bits, images)
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
    measured = pixels.calibration(network, images, low, high)
    samples = building.activations(network, scaling.float_weights(network), measured)
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
        model: See `quantize_model`. Images of one channel may have none in its input, (28, 28) for (28, 28, 1).
        bits: See `quantize_model`.
        augmentation: What the training images go through; only its crop counts here.
        **options: `weights`, `use_bias` and `fold` of `quantize_model`.

    Raises:
        UserError: As `quantize_model`, and if the model does not take the data's images or give a score for each class.
    """
    images, _ = dataset.probe_batch(pixels.CALIBRATION_IMAGES, augmentation)
    if (*model.input_shape[1:], 1) == dataset.input_shape:
        image = keras.Input(dataset.input_shape, dtype=model.inputs[0].dtype)
        model = keras.Model(image, model(keras.layers.Reshape(model.input_shape[1:])(image)), name=model.name)
    converted = quantize_model(model, bits, images=images, **options)
    if converted.output_shape[1:] != (dataset.num_classes,):
        raise UserError(
            f"model {model.name}: gives scores of {converted.output_shape[1:]}, {dataset.name} has "
            f"{dataset.num_classes} classes; give a model of as many outputs"
        )
    return converted
