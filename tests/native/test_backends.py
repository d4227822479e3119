"""integer.infer and integer.train_step by name of the engine; random networks give the same bits in both."""

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import models
from support.drawn_networks import network
from support.images import random_images
from support.tensors import plain_operations
from wage_tf import integer
from wage_tf.errors import UserError


@pytest.mark.slow
@given(data=st.data(), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_graphs_are_the_same_in_both(data, seed):
    keras.utils.set_random_seed(seed)
    with plain_operations():
        graph = integer.freeze(network(data))
    for step in range(3):
        images, labels = random_images(graph.input_shape, 4, seed + step), (np.arange(4) + step) % 4
        assert (integer.infer(graph, images, backend="native") == integer.infer(graph, images)).all()
        native = integer.train_step(graph, images, labels, 3, seed, step, backend="native")
        graph = integer.train_step(graph, images, labels, 3, seed, step)
        for name, parameter in graph.parameters.items():
            assert (native.parameters[name].accumulators == parameter.accumulators).all(), f"{name} at step {step}"


def test_no_images_and_a_last_batch_that_is_smaller():
    graph = integer.freeze(models.build("mlp", "2-8-8-8", (5, 5, 1), 10, width=0.05))
    for count in (0, 5):
        images = random_images((5, 5, 1), count)
        scores = integer.infer(graph, images, batch=3, backend="native")
        assert scores.shape == (count, 10)
        assert (scores == integer.infer(graph, images, batch=3)).all()


def test_another_backend_is_refused():
    graph = integer.freeze(models.build("mlp", "2-8-8-8", (5, 5, 1), 10, width=0.05))
    with pytest.raises(UserError, match="backend: one of numpy, native; received 'c'"):
        integer.infer(graph, np.zeros((1, 5, 5, 1), np.uint8), backend="c")
