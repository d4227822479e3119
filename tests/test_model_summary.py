"""The table of a model's layers, against costs and shapes."""

import keras
import numpy as np
import pytest

import models
import wage_tf
from wage_tf import costs
from wage_tf.layers import QActivation, QConv2D, QDense, QRescaling


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.rescaling = QRescaling(1 / 256, name="rescale")
        self.convolution = QConv2D(4, 3, use_bias=True, name="conv")
        self.activation = QActivation(name="relu")
        self.normalization = keras.layers.BatchNormalization(name="norm")
        self.pool = keras.layers.GlobalMaxPooling2D()
        self.scores = QDense(10, bits="4-8-12-8", name="scores")

    def call(self, images):
        return self.scores(self.pool(self.normalization(self.activation(self.convolution(self.rescaling(images))))))


def rows(text):
    return {line.split()[0]: line.split() for line in text.splitlines()}


def test_a_network_is_counted_as_costs_count_it():
    model = models.build("lenet5", "2-8-8-8", (28, 28, 1), 10)
    found, counted = rows(wage_tf.summary(model)), costs.model_costs(model)
    for layer in counted.layers:
        kernel = model.get_layer(layer.name)
        energies = (layer.energy_inference, layer.energy_training)
        expected = [layer.name, str(layer.bits), f"{kernel.alpha:g}"]
        numbers = [costs.human(layer.parameters), costs.human(layer.macs)]
        numbers += [costs.human(energy * 1e-6, "J") for energy in energies]
        assert found[layer.name] == [*expected, *" ".join(numbers).split()]
    assert found["conv1_relu"] == ["conv1_relu", "2-8-8-8"]
    total = [costs.human(counted.total.parameters), costs.human(counted.total.macs)]
    assert found["total"][: 1 + len(" ".join(total).split())] == ["total", *" ".join(total).split()]


def test_a_subclassed_model_is_counted_by_its_shapes():
    model = Subclassed()
    model(np.zeros((2, 8, 8, 1), np.uint8))
    found = rows(wage_tf.summary(model))
    assert found["conv"][:6] == ["conv", "2-8-8-8", "1", "40", "1.3", "k"]  # 36 weights at 36 positions
    assert found["norm"] == ["norm", "f-f-f-f", "8"]
    assert found["scores"][:5] == ["scores", "4-8-12-8", f"{model.scores.alpha:g}", "40", "40"]


def test_sizes_that_are_not_known_are_question_marks():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, QConv2D(4, 3, name="conv")(inputs))
    assert rows(wage_tf.summary(model))["conv"] == ["conv", "2-8-8-8", f"{model.layers[1].alpha:g}", "108", *"???"]


def test_an_optimizer_that_ignores_the_gradients_width_is_named():
    model = models.build("mlp", "2-8-8-8", (8, 8, 1), 10)
    model.compile("adam", "mse")
    assert "G has no effect: Adam updates in float32" in wage_tf.summary(model)
    model.compile(wage_tf.optimizers.IntegerSGD(8.0), "mse")
    assert "no effect" not in wage_tf.summary(model)


def test_print_fn_gets_the_text():
    printed = []
    text = wage_tf.summary(models.build("mlp", "2-8-8-8", (8, 8, 1), 10), print_fn=printed.append)
    assert printed == [text]


def test_a_model_without_shapes_is_refused():
    with pytest.raises(ValueError, match="model: has to be built"):
        wage_tf.summary(Subclassed())
