"""The ONNX model in ONNX Runtime against the engine, score for score."""

import json

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import models
from support.images import random_images
from support.networks import NETWORKS
from support.random_graphs import graphs
from wage_tf import integer, layers
from wage_tf.errors import UserError
from wage_tf.export import Card, onnx, write_onnx
from wage_tf.export.stages import stages

runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
CARD = Card("net", "2-8-8-8", "x/256", ("null", "één"))
OF_INTEGERS = {"ConvInteger", "MatMulInteger"}


def run(model, images):
    session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"image": images})[0]


@pytest.mark.parametrize(("name", "bits", "shape", "width"), NETWORKS)
def test_equals_the_engine(tmp_path, name, bits, shape, width):
    graph = integer.freeze(models.build(name, bits, shape, 10, width=width))
    size = write_onnx(tmp_path / "net.onnx", graph, CARD)
    assert (tmp_path / "net.onnx").stat().st_size == size
    images = random_images(shape, 20)
    assert np.array_equal(run(str(tmp_path / "net.onnx"), images), integer.infer(graph, images))


@given(graphs())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_graphs(graph):
    images = random_images(graph.input_shape, 5)
    found = run(onnx.to_bytes(stages(graph), CARD), images)
    assert found.dtype == np.int32
    assert np.array_equal(found, integer.infer(graph, images).reshape(5, -1))


def test_products_are_integers_and_the_metadata_is_there():
    package = pytest.importorskip("onnx", reason="needs onnx")
    graph = integer.freeze(models.build("lenet5", "2-8-8-8", (16, 16, 1), 10, width=0.25))
    model = package.load_from_string(onnx.to_bytes(stages(graph), CARD))
    kinds = {node.op_type for node in model.graph.node}
    assert kinds >= OF_INTEGERS
    assert not kinds & {"Conv", "MatMul", "Gemm"}
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties["wage_tf"]) == CARD.as_dict()
    assert int(properties["fraction"]) == graph.output.fraction


def test_widths_above_8_bits_are_refused():
    image = keras.Input((8, 8, 1), dtype="uint8")
    for first, second, reason in (("2-10-8-8", "2-8-8-8", "activations"), ("2-8-8-8", "10-8-8-8", "weights")):
        x = layers.QRescaling(1 / 256, bits=first)(image)
        x = layers.QDense(3, bits=second)(keras.layers.Flatten()(x))
        graph = integer.freeze(keras.Model(image, layers.QError()(x)))
        with pytest.raises(UserError, match=f"ONNX export: .*{reason} of more than 8 bits"):
            onnx.to_bytes(stages(graph), CARD)
