"""Random small networks with branches: Keras and the engine agree in every code of inference and of five steps."""

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.drawn_networks import network
from support.images import random_images
from support.tensors import plain_operations
from wage_tf import integer
from wage_tf.export import Card, packed
from wage_tf.integer.comparison import Comparison

SETTINGS = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
@given(data=st.data(), seed=st.integers(0, 100))
@SETTINGS
def test_keras_and_the_engine_agree(data, seed):
    keras.utils.set_random_seed(seed)
    with plain_operations():
        model = network(data)
        shape = model.input_shape[1:]
        comparison = Comparison(model)
        comparison.infer([(random_images(shape, 5, seed), np.zeros((5, 4), np.float32))])
        comparison.train(batches(shape, seed), 8.0, seed)
    assert comparison.explained
    past = any(entry.past for entry in comparison.exactness.values())
    assert comparison.equal or past
    assert comparison.steps.done == 5


def batches(shape, seed):
    for step in range(5):
        yield random_images(shape, 4, seed + step), np.eye(4, dtype=np.float32)[(np.arange(4) + step) % 4]


@given(data=st.data(), seed=st.integers(0, 100))
@SETTINGS
def test_a_packed_file_keeps_every_kind_of_node(data, seed):
    keras.utils.set_random_seed(seed)
    with plain_operations():
        graph = integer.freeze(network(data))
    again, _ = packed.from_bytes(packed.to_bytes(graph, Card("net", "mixed", "x/128 - 1"), accumulators=True))
    images, labels = random_images(graph.input_shape, 4, seed), np.arange(4)
    assert (integer.infer(again, images) == integer.infer(graph, images)).all()
    first, second = (integer.train_step(g, images, labels, 3, seed, 0).parameters for g in (graph, again))
    assert all((first[name].codes == second[name].codes).all() for name in first)
