"""The whole runtime under sanitizers: the extension, built with them, trains in a process without TensorFlow."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import sysconfig

import numpy as np
import pytest

import models
from support.images import random_images
from wage_tf import export, integer, native
from wage_tf.native.build import ffibuilder

_NATIVE = pathlib.Path(native.__file__).parent
_SANITIZERS = ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_TRAIN = """
import importlib.util, sys
sys.modules["tensorflow"] = sys.modules["keras"] = None
import numpy as np
spec = importlib.util.spec_from_file_location("wage_tf.native._runtime", sys.argv[1])
sys.modules["wage_tf.native._runtime"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["wage_tf.native._runtime"])
from wage_tf import export, native
from wage_tf.native.network import Network
for path in sys.argv[2:]:
    graph, _ = export.read_packed(path)
    data = np.load(path + ".npz")
    expected, _ = export.read_packed(path + ".trained")
    for isa in native.instruction_sets():
        network = Network(graph, 5, training=True, threads=2, isa=isa)
        for step in range(2):
            network.train_step(data["images"], data["labels"], 3, 0, step)
        for name, parameter in network.graph().parameters.items():
            assert np.array_equal(parameter.accumulators, expected.parameters[name].accumulators), (path, isa, name)
        network.infer(data["images"][:1])
print(*native.instruction_sets())
"""


@pytest.mark.slow
def test_networks_train_under_sanitizers(tmp_path):
    """Convolutions, pooling and matrix products; branches and strides; depthwise ones."""
    runtime = tmp_path / "runtime.so"
    ffibuilder.emit_c_code(str(tmp_path / "runtime.c"))
    sources = [tmp_path / "runtime.c", *(_NATIVE / "src").glob("*.c")]
    included = [f"-I{_NATIVE / 'src'}", f"-I{sysconfig.get_path('include')}"]
    subprocess.run(
        ["cc", "-shared", "-fPIC", *_SANITIZERS, *included, *sources, "-lpthread", "-o", runtime], check=True
    )
    paths = []
    for name, shape, width in (("lenet5", (16, 16, 1), 0.1), ("resnet8", (8, 8, 3), 0.25), ("ds_cnn", (9, 6, 1), 0.1)):
        graph = integer.freeze(models.build(name, "2-8-8-8", shape, 10, width=width))
        images, labels = random_images(shape, 4), np.arange(4)
        paths.append(str(tmp_path / name))
        card = export.Card(name, "2-8-8-8", "")
        export.write_packed(paths[-1], graph, card, accumulators=True)
        np.savez(paths[-1] + ".npz", images=images, labels=labels)
        for step in range(2):
            graph = integer.train_step(graph, images, labels, 3, 0, step)
        export.write_packed(paths[-1] + ".trained", graph, card, accumulators=True)
    library = subprocess.run(["cc", "-print-file-name=libasan.so"], check=True, capture_output=True, text=True).stdout
    under = {"LD_PRELOAD": library.strip(), "ASAN_OPTIONS": "detect_leaks=0"}
    command = [sys.executable, "-c", _TRAIN, str(runtime), *paths]
    run = subprocess.run(
        command, cwd=_NATIVE.parents[1], env=os.environ | under, check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert "portable" in run.stdout
