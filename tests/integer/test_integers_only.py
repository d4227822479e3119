"""The engine holds no float: none in its source, none at run time; and it needs no TensorFlow."""

import ast
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import models
from tests.integer.helpers import random_images
from wage_tf import integer

FOLDER = pathlib.Path(integer.__file__).parent
ENGINE = [FOLDER / f"{name}.py" for name in ("arithmetic", "linear", "graph", "engine")]


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: path.name)
def test_source_has_no_float(path):
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Div), "true division gives floats"
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))
        name = getattr(node, "id", getattr(node, "attr", ""))
        assert name not in ("float", "float16", "float32", "float64", "double", "half", "mean", "sqrt", "log2")


def assert_no_float(value, where):
    values = value if isinstance(value, tuple | list) else value.values() if isinstance(value, dict) else [value]
    for item in values:
        assert not isinstance(item, float | np.floating), where
        if isinstance(item, np.ndarray):
            assert item.dtype.kind in "iub", where


def test_no_float_at_run_time():
    graph = integer.freeze(models.build("lenet5", "2-8-8-8", (16, 16, 1), 10, width=0.1))
    files = {str(path) for path in ENGINE}
    seen = set()

    def trace(frame, event, argument):
        if frame.f_code.co_filename not in files:
            return None
        where = f"{frame.f_code.co_name}, line {frame.f_lineno}"
        seen.add(frame.f_code.co_name)
        assert_no_float(frame.f_locals, where)
        if event == "return":
            assert_no_float(argument, where)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        integer.train_step(graph, random_images((16, 16, 1), 4), np.arange(4), 3, 0, 0)
    finally:
        sys.settrace(before)
    assert {"product", "scatter", "quantize", "quantize_gradient", "random_bits", "train_step"} <= seen


def test_it_runs_without_tensorflow():
    program = """
import importlib.abc, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('tensorflow', 'keras'):
            raise ModuleNotFoundError(f'no {name} here', name=name.split('.')[0])
sys.meta_path.insert(0, Blocker())
import numpy as np
from wage_tf import integer
from wage_tf import export
table = integer.Rescale('rescale', np.arange(256, dtype=np.int16).clip(0, 127).astype(np.int8), 8)
card = export.Card('net', '2-8-8-8', 'x')
graph, _ = export.packed.from_bytes(export.packed.to_bytes(integer.Graph((1, 1, 1), (table,)), card))
print(integer.infer(graph, np.full((1, 1, 1, 1), 9, np.uint8)).item())
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=FOLDER.parent.parent,
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    assert run.stdout == "9\n", run.stderr
