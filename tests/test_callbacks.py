"""TensorBoard events read back, and the probe's counts against the tensors themselves."""

from __future__ import annotations

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator

import models
from wage_tf import callbacks, losses, metrics, ops, optimizers, quantizers
from wage_tf.bits import BitWidths
from wage_tf.layers import QActivation, QDense, QError, QRescaling
from wage_tf.probe import Probe, _count_floats


@pytest.fixture(scope="module")
def batch():
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (32, 16, 16, 1), np.uint8)
    return images, np.eye(4, dtype=np.float32)[generator.integers(0, 4, 32)]


def lenet(bits="2-8-8-8"):
    model = models.build("lenet5", bits, (16, 16, 1), 4, width=0.25)
    optimizer = optimizers.IntegerSGD(8.0, bits=BitWidths.parse(bits).g, seed=3)
    model.compile(optimizer, losses.SumSquaredError(), metrics=[metrics.ErrorRate()])
    return model


@pytest.fixture(scope="module")
def measured(batch):
    """A network that no test trains, its probe and what that measured; the variables as they were before."""
    model = lenet()
    probe = Probe(model, *batch)
    before = [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]
    return model, probe, before, probe.measure()


def read_events(folder):
    events = EventAccumulator(str(folder), size_guidance={TENSORS: 0})
    events.Reload()
    return events


def buckets(events, tag):
    """Rows (left, right, count) of every step."""
    return [tf.make_ndarray(event.tensor_proto) for event in events.Tensors(tag)]


@pytest.mark.slow
class TestHistograms:
    @pytest.fixture(scope="class")
    def events(self, batch, tmp_path_factory):
        folder = tmp_path_factory.mktemp("events")
        model = lenet()
        callback = callbacks.QuantizationHistograms(folder, *batch, freq=2)
        model.fit(*batch, batch_size=16, epochs=5, shuffle=False, verbose=0, callbacks=[callback])
        return read_events(folder)

    def test_every_operand_of_every_layer_is_there(self, events):
        tags = set(events.Tags()["tensors"])
        for layer in ("conv1", "conv2", "fc1", "fc2"):
            assert {f"{operand}/{layer}" for operand in ("W", "W_stored", "G", "G_raw")} <= tags
            shares = ("W_zeros", "W_saturated", "W_changed", "G_zeros", "G_shift")
            assert {f"{scalar}/{layer}" for scalar in shares} <= tags
        for layer in ("conv1_relu", "conv2_relu", "fc1_relu"):
            assert {f"{operand}/{layer}" for operand in ("A", "E", "E_raw", "E_shift", "A_saturated")} <= tags
        assert {"A/rescale", "A/fc2_clip", "E/fc2_error"} <= tags

    def test_every_second_epoch_is_measured(self, events):
        assert [event.step for event in events.Tensors("W/conv1")] == [2, 4]

    def test_a_ternary_weight_shows_three_bars(self, events):
        for rows in buckets(events, "W/conv1"):
            bars = rows[rows[:, 2] > 0]
            np.testing.assert_array_equal(bars[:, :2].mean(axis=1), [-0.5, 0.0, 0.5])
            assert rows[:, 2].sum() == 25 * 8
            assert (rows[1::2, 2] == 0).all()
            np.testing.assert_array_equal(rows[1:, 0], rows[:-1, 1])

    def test_bins_fall_on_the_grid(self, events):
        rows = buckets(events, "A/conv1_relu")[0]
        np.testing.assert_array_equal(rows[:, :2].mean(axis=1), np.arange(-127, 128) / 128)


@pytest.mark.slow
class TestProbe:
    @pytest.mark.parametrize("bits", ["2-8-8-8", "4-4-10-6", "1-8-8-8"])
    def test_counts_are_those_of_the_tensors(self, bits, batch, measured):
        pattern = BitWidths.parse(bits)
        model = measured[0] if bits == "2-8-8-8" else lenet(bits)
        found = measured[-1] if bits == "2-8-8-8" else Probe(model, *batch).measure()
        kernel = model.get_layer("conv2").kernel.numpy()
        quantized = ops.quantize(kernel, pattern.w).numpy()
        histogram = found.histograms["W/conv2"]
        for centre, count in zip(histogram.centres, histogram.counts, strict=True):
            assert count == np.sum(quantized == centre)
        assert found.scalars["W_zeros/conv2"] == pytest.approx(np.mean(quantized == 0))
        activations = keras.Model(model.inputs, model.get_layer("conv1_relu").output)(batch[0]).numpy()
        histogram = found.histograms["A/conv1_relu"]
        assert histogram.counts.sum() == activations.size
        assert histogram.counts[len(histogram.counts) // 2] == np.sum(activations == 0)
        assert found.scalars["A_saturated/conv1_relu"] == pytest.approx(
            np.mean(np.abs(activations) >= ops.largest_value(pattern.a))
        )

    def test_gradients_are_the_next_steps(self, batch, measured):
        untrained, *_, found = measured
        model = lenet()
        model.set_weights(untrained.get_weights())
        before = model.get_layer("fc1").kernel.numpy()
        model.train_on_batch(*batch)
        after = model.get_layer("fc1").kernel.numpy()
        moved = np.abs(before) < 0.4
        changes = np.rint((before - after)[moved] * 128).astype(int)
        assert len(changes) > 500
        histogram = found.histograms["G/fc1"]
        codes = np.rint(histogram.centres * 128).astype(int)
        counted = dict(zip(codes, histogram.counts, strict=True))
        assert sum(counted.values()) == before.size
        unclipped = collections.Counter(changes.tolist())
        assert all(counted[code] >= count for code, count in unclipped.items())
        assert sum(counted.values()) - unclipped.total() == np.sum(~moved)
        changed = np.mean(ops.quantize(before, 2).numpy() != ops.quantize(after, 2).numpy())
        assert found.scalars["W_changed/fc1"] == pytest.approx(changed)

    def test_the_errors_exponent_is_shifts(self, batch, measured):
        model, *_, found = measured
        scores = model(batch[0]).numpy()
        exponent = np.log2(float(ops.shift(np.abs(scores - batch[1]).max())))
        assert found.scalars["E_shift/fc2_error"] == exponent
        errors = quantizers.error_backward(scores - batch[1], k=8).numpy()
        codes = collections.Counter(np.rint(errors / 2.0**exponent * 128).astype(int).ravel().tolist())
        histogram = found.histograms["E/fc2_error"]
        places = np.rint(histogram.centres * 128).astype(int)
        assert {place: count for place, count in zip(places, histogram.counts, strict=True) if count} == codes

    def test_nothing_is_trained(self, measured):
        model, probe, before, found = measured
        assert probe.measure().scalars == found.scalars
        after = [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]
        for one, other in zip(before, after[: len(before)], strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("bits", ["f-f-f-f", "2-8-f-f", "f-8-8-8"])
    def test_float_operands_are_measured_raw(self, bits, batch):
        model = lenet(bits)
        found = Probe(model, *batch).measure()
        assert not found.histograms["G_raw/fc1"].on_grid
        assert found.histograms["G_raw/fc1"].counts.sum() == model.get_layer("fc1").kernel.numpy().size
        assert ("G/fc1" in found.histograms) == (bits == "f-8-8-8")


class Hidden(keras.layers.Layer):
    """A block without a graph around it."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.kernel_layer = QDense(units, name="dense")
        self.activation = QActivation(name="relu")

    def call(self, inputs):
        return self.activation(self.kernel_layer(inputs))


class Subclassed(keras.Model):
    """Two blocks, the second called twice, with batch normalization and dropout on the way."""

    def __init__(self):
        super().__init__()
        self.rescaling = QRescaling(1 / 256, name="rescale")
        self.flatten = keras.layers.Flatten()
        self.normalization = keras.layers.BatchNormalization()
        self.dropout = keras.layers.Dropout(0.1)
        self.one, self.two = Hidden(12, name="one"), Hidden(12, name="two")
        self.scores = QDense(4, name="scores")
        self.error = QError(name="error")

    def call(self, images, training=False):
        hidden = self.one(self.flatten(self.rescaling(images)))
        hidden = self.dropout(self.normalization(self.two(hidden)), training=training)
        return self.error(self.scores(self.two(hidden)))


@pytest.mark.slow
class TestSubclassedModels:
    def test_histograms_of_every_layer_and_call(self, batch, tmp_path):
        model = compiled(Subclassed())
        callback = callbacks.QuantizationHistograms(tmp_path, *batch)
        model.fit(*batch, epochs=1, verbose=0, callbacks=[callback])
        tags = set(read_events(tmp_path).Tags()["tensors"])
        one, two = model.one.activation.path, model.two.activation.path
        dense = [model.one.kernel_layer.path, model.two.kernel_layer.path]
        for layer in (*dense, "scores"):
            assert {f"{operand}/{layer}" for operand in ("W", "W_stored", "G", "G_raw")} <= tags
        for call in (one, two, f"{two}_2"):
            assert {f"{operand}/{call}" for operand in ("A", "E", "E_raw", "E_shift")} <= tags
        assert {"A/rescale", "E/error"} <= tags

    def test_counts_are_those_of_the_functional_model(self, batch, measured):
        functional, *_, expected = measured
        inside = keras.models.clone_model(functional)
        inside.set_weights(functional.get_weights())
        found = Probe(compiled(Around(inside)), *batch).measure()
        assert found.scalars == expected.scalars
        for name, histogram in expected.histograms.items():
            np.testing.assert_array_equal(found.histograms[name].counts, histogram.counts)

    def test_nothing_changes(self, batch):
        model = compiled(Subclassed())
        model.train_on_batch(*batch)
        before = [np.asarray(variable) for variable in [*model.variables, *model.optimizer.variables]]
        Probe(model, *batch).measure()
        for one, other in zip(before, [*model.variables, *model.optimizer.variables], strict=True):
            np.testing.assert_array_equal(one, np.asarray(other))
        assert all("call" not in vars(layer) for layer in model._flatten_layers())

    def test_frozen_kernels_have_weights_and_no_update(self, batch):
        model = lenet()
        model.get_layer("conv1").trainable = False
        found = Probe(compiled(model), *batch).measure()
        assert {"W/conv1", "W/conv2", "G/conv2"} <= set(found.histograms)
        assert "G/conv1" not in found.histograms

    def test_a_function_inside_the_model_is_refused(self, batch):
        model = lenet()
        around = Around(model)
        around.inside = tf.function(model)
        with pytest.raises(ValueError, match=r"inside of a tf\.function"):
            Probe(compiled(around), *batch).measure()

    def test_a_model_without_an_optimizer_is_refused(self, batch):
        with pytest.raises(ValueError, match="model: has to be compiled"):
            Probe(Subclassed(), *batch)


class Around(keras.Model):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.inside = model

    def call(self, images, training=False):
        return self.inside(images, training=training)


def compiled(model):
    model.compile(optimizers.IntegerSGD(8.0, 8, seed=3), losses.SumSquaredError())
    return model


@pytest.mark.parametrize("values", [[1.0, np.inf], [-np.inf, np.nan], [3e38, -3e38, 1.0], [np.nan, 0.25, -0.5]])
def test_what_is_not_finite_is_not_counted(values):
    """TensorFlow's histogram ends the process on a range that is infinite."""
    _, counts, _ = _count_floats(tf.constant(values))
    assert sum(counts.numpy()) == np.isfinite(values).sum()


@pytest.mark.slow
def test_a_model_that_is_compiled_again_is_measured_as_it_is_now(batch, tmp_path):
    model = lenet()
    callback = callbacks.QuantizationHistograms(tmp_path, *batch)
    options = {"batch_size": 16, "verbose": 0, "shuffle": False, "callbacks": [callback]}
    model.fit(*batch, **options)
    model.get_layer("conv1").trainable = False
    model.compile(optimizers.IntegerSGD(2.0**-6, seed=1), model.loss)
    model.fit(*batch, epochs=2, initial_epoch=1, **options)
    tags = read_events(tmp_path).Tensors("G_zeros/fc1")
    before, after = (float(tf.make_ndarray(event.tensor_proto)) for event in tags)
    assert before < 0.9 < after


@pytest.mark.parametrize("freq", [0, -1, 1.5, True])
def test_a_frequency_is_a_number_of_epochs(freq, tmp_path):
    with pytest.raises(ValueError, match=r"freq: epochs .*, an integer from 1 on; received"):
        callbacks.QuantizationHistograms(tmp_path, np.zeros((1, 4)), np.zeros((1, 2)), freq=freq)
