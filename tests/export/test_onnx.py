"""What the ONNX model consists of, and what it refuses; test_equality.py compares its scores."""

import json

import keras
import pytest

from support.networks import frozen
from wage_tf import integer, layers
from wage_tf.errors import UserError
from wage_tf.export import Card, onnx, write_onnx
from wage_tf.export.stages import stages

package = pytest.importorskip("onnx", reason="needs onnx")
CARD = Card("net", "2-8-8-8", "x/256", ("null", "één"))
OF_INTEGERS = {"ConvInteger", "MatMulInteger"}


def test_products_are_integers_and_the_metadata_is_there(tmp_path):
    graph = frozen("lenet5", shape=(16, 16, 1))
    size = write_onnx(tmp_path / "net.onnx", graph, CARD)
    assert (tmp_path / "net.onnx").stat().st_size == size
    model = package.load(tmp_path / "net.onnx")
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
