"""Keras callbacks for any training with quantized layers."""

from wage_tf.callbacks.histograms import QuantizationHistograms

__all__ = ["QuantizationHistograms"]
