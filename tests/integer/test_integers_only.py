"""The engine holds no float: none in its source, none at run time; and it needs no TensorFlow."""

import ast
import dataclasses
import hashlib
import importlib
import inspect
import os
import pathlib
import pkgutil
import subprocess
import sys
import types

import numpy as np
import pytest

import models
from support.images import random_images
from wage_tf import export, integer
from wage_tf.integer import arithmetic, engine, graph, linear, nodes, tensors

FOLDER = pathlib.Path(integer.__file__).parent
FAMILIES = tuple(
    importlib.import_module(module.name) for module in pkgutil.iter_modules(nodes.__path__, f"{nodes.__name__}.")
)
WATCHED = tuple(module for module in (arithmetic, tensors, linear, *FAMILIES, engine) if hasattr(module, "np"))
ENGINE = [pathlib.Path(module.__file__) for module in (arithmetic, tensors, linear, graph, nodes, *FAMILIES, engine)]
FLOAT_NAMES = {"float", "float16", "float32", "float64", "double", "half", "mean", "sqrt", "log2", "exp"}
FLOAT_NAMES |= {"ldexp", "rint", "divide", "true_divide"}
FLOAT_DTYPES = {"e", "f", "d", "g", "half", "single", "double", "float", "float16", "float32", "float64"}


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: path.name)
def test_source_has_no_float(path):
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Div), "true division gives floats"
        assert not isinstance(node, ast.Constant) or not (isinstance(node.value, float) or node.value in FLOAT_DTYPES)
        assert getattr(node, "id", getattr(node, "attr", "")) not in FLOAT_NAMES


class Integers(np.ndarray):
    """An array that refuses to be of floats, to meet them, or to give them."""

    def __array_finalize__(self, other):
        assert_integers(self)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        return checked(getattr(ufunc, method))(*inputs, **options)

    def __array_function__(self, function, types, arguments, options):
        return checked(function)(*arguments, **options)


class IntegerNumPy:
    """A module of NumPy whose functions take and give integers only; their arrays are `Integers`."""

    def __init__(self, module, called):
        self._module, self._called = module, called

    def __getattr__(self, name):
        value = getattr(self._module, name)
        if isinstance(value, types.ModuleType):
            return IntegerNumPy(value, self._called)
        if isinstance(value, type) or not callable(value):
            return value
        self._called.add(name)
        return checked(value)


def checked(function):
    def call(*arguments, **options):
        assert_integers((arguments, options))
        result = function(*plain(arguments), **plain(options))
        assert_integers(result)
        return integers(result)

    return call


def assert_integers(value):
    for item in leaves(value):
        assert not isinstance(item, float | np.floating), item
        assert not isinstance(item, np.ndarray) or item.dtype.kind in "iub", item.dtype


def leaves(value):
    if isinstance(value, dict):
        value = tuple(value.values())
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, tuple | list) else [value]


def plain(value):
    return changed(value, lambda array: array.view(np.ndarray))


def integers(value):
    return changed(value, lambda array: array.view(Integers))


def changed(value, change):
    """The value with every array in it changed."""
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, dict):
        return {key: changed(item, change) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(changed(item, change) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        return dataclasses.replace(value, **{name: changed(item, change) for name, item in fields.items()})
    return value


@pytest.fixture
def called(monkeypatch):
    """Watches NumPy in the engine; gives the names of the functions called."""
    names = set()
    for module in WATCHED:
        monkeypatch.setattr(module, "np", IntegerNumPy(np, names))
    return names


def step():
    """One training step, and the step without the watch around NumPy's arrays."""
    network = integer.freeze(models.build("lenet5", "2-8-8-8", (16, 16, 1), 10, width=0.1))
    images, labels = random_images((16, 16, 1), 4), np.arange(4)
    after = integer.train_step(integers(network), integers(images), integers(labels), 3, 0, 0)
    return integer.infer(after, integers(images)), network, images, labels


def test_no_float_at_run_time(called, monkeypatch):
    scores, network, images, labels = step()
    assert isinstance(scores, Integers)
    assert {"einsum", "pad", "sliding_window_view", "where", "clip", "arange", "sign", "maximum"} <= called
    monkeypatch.undo()
    assert (scores == integer.infer(integer.train_step(network, images, labels, 3, 0, 0), images)).all()


@pytest.mark.parametrize(
    ("module", "name", "code", "mutant"),
    [
        (linear, "product", '"mk,nk->mn", a, b)', '"mk,nk->mn", a.astype("d"), b.astype("d")).astype(dtype)'),
        (linear, "product", 'np.einsum("mk,nk->mn", a, b)', "(a @ (b.T * 1.0)).astype(dtype)"),
        (linear, "max_pool", ".max(axis=(-2, -1))", ".mean(axis=(-2, -1)).astype(x.dtype)"),
        (
            arithmetic,
            "round_shift",
            "(x + (2 ** (shift - 1) - 1) + ((x >> shift) & 1)) >> shift",
            "np.rint(np.ldexp(x, -shift)).astype(np.int64)",
        ),
        (arithmetic, "quantize_gradient", "size >> whole", "np.floor_divide(size, 2.0**whole).astype(np.int64)"),
        (engine, "_one_hot", ".astype(np.int64)", '.astype("f").astype(np.int64)'),
    ],
)
def test_a_float_at_run_time_is_seen(called, monkeypatch, module, name, code, mutant):
    """Floats on the way from integers to integers, kept in no variable."""
    source = inspect.getsource(getattr(module, name))
    assert source.count(code) == 1
    scope = {}
    exec(source.replace(code, mutant), vars(module), scope)
    for user in WATCHED:
        if hasattr(user, name):
            monkeypatch.setattr(user, name, scope[name])
    with pytest.raises(AssertionError, match="float"):
        step()


def test_it_trains_without_tensorflow(tmp_path):
    """Convolutions and matrix products, forward, backward and update, of a packed file."""
    network = integer.freeze(models.build("lenet5", "2-8-8-8", (16, 16, 1), 10, width=0.1))
    export.write_packed(tmp_path / "net", network, export.Card("net", "2-8-8-8", "x/256"), accumulators=True)
    program = """
import hashlib, importlib.abc, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('tensorflow', 'keras'):
            raise ModuleNotFoundError(f'no {name} here', name=name.split('.')[0])
sys.meta_path.insert(0, Blocker())
import numpy as np
from wage_tf import export, integer
network, _ = export.read_packed(sys.argv[1])
images = np.arange(4 * 256).reshape(4, 16, 16, 1).astype(np.uint8)
after = integer.train_step(network, images, np.arange(4), 3, 0, 0)
for kernel in after.kernels.values():
    print(hashlib.sha256(kernel.accumulators.tobytes()).hexdigest())
print(integer.infer(after, images).ravel().tolist())
"""
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "net")],
        cwd=FOLDER.parent.parent,
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    images = np.arange(4 * 256).reshape(4, 16, 16, 1).astype(np.uint8)
    after = integer.train_step(network, images, np.arange(4), 3, 0, 0)
    expected = [hashlib.sha256(kernel.accumulators.tobytes()).hexdigest() for kernel in after.kernels.values()]
    assert run.stdout.splitlines() == [*expected, str(integer.infer(after, images).ravel().tolist())], run.stderr
