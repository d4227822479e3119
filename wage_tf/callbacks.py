"""A Keras callback for any training with quantized layers: TensorBoard histograms and scalars, layer by layer."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from wage_tf.probe import Histogram, Probe

_SEPARATE_BARS = 15


class QuantizationHistograms(keras.callbacks.Callback):
    """Writes histograms of W, A, E, G (stored, quantized, raw) and their scalars every `freq` epochs.

    They are measured on a fixed batch outside the training step, so the step costs nothing more.
    Bins fall on the integer grid: a ternary weight shows three bars.

    Args:
        log_dir: Directory of the event files; the runs of one experiment side by side for TensorBoard.
        images: The fixed batch, as the model takes it.
        targets: Its targets, as the loss takes them.
        freq: Epochs from one measurement to the next.
    """

    def __init__(self, log_dir: str | Path, images: np.ndarray, targets: np.ndarray, freq: int = 1):
        super().__init__()
        self.log_dir = str(log_dir)
        self.images = images
        self.targets = targets
        self.freq = _check_freq(freq)
        self._probe: Probe | None = None
        self._writer: tf.summary.SummaryWriter | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self._probe is None or not self._probe.is_of(self.model):
            self._probe = Probe(self.model, self.images, self.targets)
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self.log_dir)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if (epoch + 1) % self.freq:
            return
        measurement = self._probe.measure()
        with self._writer.as_default(step=epoch + 1):
            for name, histogram in measurement.histograms.items():
                _write_histogram(name, histogram)
            for name, value in measurement.scalars.items():
                tf.summary.scalar(name, value)
        self._writer.flush()


def _check_freq(freq: int) -> int:
    if isinstance(freq, bool) or not isinstance(freq, (int, np.integer)) or freq < 1:
        raise ValueError(f"freq: epochs from one writing to the next, an integer from 1 on; received {freq!r}")
    return int(freq)


def _write_histogram(name: str, histogram: Histogram) -> None:
    """Writes TensorBoard's rows (left edge, right edge, count)."""
    from tensorboard.plugins.histogram import metadata

    tf.summary.write(name, _buckets(histogram), metadata=metadata.create_summary_metadata(None, None))


def _buckets(histogram: Histogram) -> np.ndarray:
    """Bins centred on the values; a grid of few codes gets empty bins between, so that each code stands as a bar."""
    centres, counts, half = histogram.centres, histogram.counts, histogram.bin_width / 2
    if histogram.on_grid and len(centres) <= _SEPARATE_BARS:
        between = (centres[:-1] + centres[1:]) / 2
        centres = np.sort(np.concatenate([centres, between]))
        counts = np.insert(counts, np.arange(1, len(counts)), 0)
        half /= 2
    return np.stack([centres - half, centres + half, counts], axis=1).astype(np.float64)
