"""Every instruction set's kernels against the portable ones, in a C program: sanitizers, threads, emulators."""

from __future__ import annotations

import functools
import pathlib
import shutil
import subprocess

import pytest

import wage_tf.native

_SOURCE = pathlib.Path(wage_tf.native.__file__).parent / "src"
_CHECK = pathlib.Path(__file__).parent
_KERNELS = ("isa", "portable", "avx512vnni", "avxvnni", "avx2", "neon", "neondot")
_SANITIZERS = ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

# compiler, its flags, what runs the program; ARM's where its compiler and an emulator are installed
_MACHINES = [("cc", ("-O3",), ()), ("cc", _SANITIZERS, ())]
if shutil.which("aarch64-linux-gnu-gcc") and shutil.which("qemu-aarch64"):
    _MACHINES += [
        ("aarch64-linux-gnu-gcc", ("-O2", "-static"), ("qemu-aarch64", "-cpu", cpu)) for cpu in ("max", "cortex-a53")
    ]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The check, by its compiler and flags: two processors run one program."""

    @functools.cache
    def compiled(compiler, flags):
        sources = [*_CHECK.glob("*.c"), *(_SOURCE / f"wage_{name}.c" for name in _KERNELS)]
        path = tmp_path_factory.mktemp("check") / "check"
        command = [compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", *flags, f"-I{_SOURCE}", *sources, "-lpthread"]
        subprocess.run([*command, "-o", path], check=True)
        return path

    return compiled


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "flags", "runner"), _MACHINES)
def test_kernels_agree_with_the_portable_ones(program, compiler, flags, runner):
    subprocess.run([*runner, program(compiler, flags), "60" if runner else "200", "1"], check=True)
