"""Every instruction set's kernels against the portable ones, in a C program of its own: sanitizers, emulators, threads."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest

import wage_tf.native

_SOURCE = pathlib.Path(wage_tf.native.__file__).parent / "src"
_CHECK = pathlib.Path(__file__).parent / "native"
_KERNELS = ("isa", "portable", "avx512vnni", "avxvnni", "avx2", "neon", "neondot")
_EMULATED = ("aarch64-linux-gnu-gcc", "qemu-aarch64")

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def _build(compiler: str, program: pathlib.Path, *flags: str) -> None:
    sources = [*_CHECK.glob("*.c"), *(_SOURCE / f"wage_{name}.c" for name in _KERNELS)]
    command = [compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", *flags, f"-I{_SOURCE}", *sources, "-lpthread"]
    subprocess.run([*command, "-o", program], check=True)


@needs_compiler
def test_kernels_agree_with_the_portable_ones_under_sanitizers(tmp_path):
    _build("cc", tmp_path / "check", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    subprocess.run([tmp_path / "check", "150", "1"], check=True)


@needs_compiler
def test_optimized_kernels_agree_with_the_portable_ones(tmp_path):
    _build("cc", tmp_path / "check", "-O3")
    subprocess.run([tmp_path / "check", "400", "2"], check=True)


@pytest.mark.skipif(any(shutil.which(tool) is None for tool in _EMULATED), reason="no ARM compiler or emulator")
def test_arm_kernels_agree_with_the_portable_ones_under_emulation(tmp_path):
    _build("aarch64-linux-gnu-gcc", tmp_path / "check", "-O2", "-static")
    for cpu in ("max", "cortex-a53"):
        subprocess.run(["qemu-aarch64", "-cpu", cpu, tmp_path / "check", "60", "3"], check=True)
