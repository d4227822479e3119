"""The runtime in C without TensorFlow: its kernels against the portable ones, and whole trainings; under sanitizers."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

import numpy as np
import pytest

import models
from support.images import random_images
from wage_tf import export, integer, native
from wage_tf.native.build import ffibuilder

_SOURCE = pathlib.Path(native.__file__).parent / "src"
_CHECK = sorted(pathlib.Path(__file__).parent.glob("*.c"))
_STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{_SOURCE}")
_SANITIZED = ("-O1", "-g1", "-fPIC", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_WITH_THE_INSTALLED = """
import ctypes, sys
ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)
words = [word.encode() for word in sys.argv[2:]]
sys.exit(ctypes.CDLL(sys.argv[2]).main(len(words), (ctypes.c_char_p * len(words))(*words)))
"""
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

pytestmark = pytest.mark.slow


def compiled(path, *arguments, compiler="cc"):
    subprocess.run([compiler, *_STRICT, *arguments, "-o", path, "-lpthread"], check=True)
    return path


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """Every source of the runtime, compiled with sanitizers."""
    folder = tmp_path_factory.mktemp("objects")
    subprocess.run(["cc", *_STRICT, *_SANITIZED, "-c", *_SOURCE.glob("*.c")], cwd=folder, check=True)
    return sorted(folder.glob("*.o"))


@pytest.mark.usefixtures("native_engine")
def test_the_installed_kernels_agree_with_the_portable_ones(tmp_path):
    check = compiled(tmp_path / "check.so", "-O3", "-fPIC", "-shared", *_CHECK)
    command = [sys.executable, "-c", _WITH_THE_INSTALLED, native.runtime().__file__, check, "200", "1"]
    subprocess.run(command, check=True)


def test_sanitized_kernels_agree_with_the_portable_ones(tmp_path, objects):
    subprocess.run([compiled(tmp_path / "check", *_SANITIZED, *_CHECK, *objects), "200", "1"], check=True)


@pytest.mark.skipif(
    not (shutil.which("aarch64-linux-gnu-gcc") and shutil.which("qemu-aarch64")), reason="needs ARM's gcc and QEMU"
)
def test_kernels_of_arm_agree_with_the_portable_ones(tmp_path):
    kernels = [_SOURCE / f"wage_{name}.c" for name in ("isa", "portable", "neon", "neondot")]
    check = compiled(tmp_path / "check", "-O2", "-static", *_CHECK, *kernels, compiler="aarch64-linux-gnu-gcc")
    for cpu in ("max", "cortex-a53"):
        subprocess.run(["qemu-aarch64", "-cpu", cpu, check, "60", "1"], check=True)


def test_networks_train_under_sanitizers(tmp_path, objects):
    """Convolutions, pooling and matrix products; branches and strides; depthwise ones."""
    ffibuilder.emit_c_code(str(tmp_path / "runtime.c"))
    runtime = tmp_path / "runtime.so"
    python = f"-I{sysconfig.get_path('include')}"
    command = ["cc", "-shared", *_SANITIZED, f"-I{_SOURCE}", python, tmp_path / "runtime.c", *objects, "-lpthread"]
    subprocess.run([*command, "-o", runtime], check=True)
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
        command, cwd=_SOURCE.parents[2], env=os.environ | under, check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert "portable" in run.stdout
