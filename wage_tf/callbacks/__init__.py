"""Keras callbacks: what a run records, when it stops, and what TensorBoard shows of its quantized tensors."""

from wage_tf.callbacks.guards import Diverged, Interrupted, StopOnNonFinite, StopOnSignal
from wage_tf.callbacks.histograms import QuantizationHistograms
from wage_tf.callbacks.recorder import RunRecorder

__all__ = ["Diverged", "Interrupted", "QuantizationHistograms", "RunRecorder", "StopOnNonFinite", "StopOnSignal"]
