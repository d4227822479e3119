"""What the ONNX model consists of, and what it refuses; test_equality.py compares its scores."""

import json

import pytest

from support.networks import frozen
from wage_tf.export import Card, write_onnx

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
