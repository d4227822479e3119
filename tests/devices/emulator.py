"""Cross compilers and QEMU: a case of an exported network on an emulated device."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import numpy as np

_HERE = Path(__file__).parent
_FLAGS = (
    "-std=gnu99 -Wall -Wextra -Werror -ffreestanding -fno-tree-loop-distribute-patterns -ffunction-sections "
    "-nostartfiles -nostdlib -Wl,--gc-sections,--no-warn-rwx-segments"
)
_QEMU = "-display none -monitor none -serial none -semihosting-config enable=on,target=native -icount shift=0"
MACHINES = {
    "cortex-m4": ("arm", "arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb", "qemu-system-arm -M mps2-an386"),
    "riscv32": (
        "riscv",
        "riscv64-unknown-elf-gcc -march=rv32imc_zicsr -mabi=ilp32 -mcmodel=medany",
        "qemu-system-riscv32 -M virt -bios none",
    ),
}
"""Files, compiler and emulator by machine; mps2-an386 is ARM's board with a Cortex-M4."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a device printed.

    Attributes:
        scores: Of every image after training, int64 [images, classes].
        block: The saved block; empty for inference alone.
        infer: Instructions of the last image's inference.
        steps: Instructions of every training step.
    """

    scores: np.ndarray
    block: bytes
    infer: int
    steps: list[int]


class Emulator:
    """A folder that `write_c` made, on a machine."""

    def __init__(self, folder: Path, machine: str, level: str):
        self._folder, self._level = folder, level
        self._files, self._compiler, self._qemu = MACHINES[machine]

    def run(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        counts: list[int],
        classified: int | None = None,
        timeout: int = 600,
    ) -> Answer:
        """Trains step by step, `counts` images each, then classifies the first `classified` images; None for all."""
        (self._folder / "case.h").write_text(_case(images, labels, counts, classified or len(images)))
        program = self._folder / "program.elf"
        sources = [_HERE / "program.c", _HERE / f"{self._files}.c", *sorted(self._folder.glob("wage_*.c"))]
        includes = [f"-I{_HERE}", f"-I{self._folder}", "-T", _HERE / f"{self._files}.ld"]
        compiler = [*self._compiler.split(), *_FLAGS.split(), self._level, *includes]
        subprocess.run([*compiler, "-o", program, *sources, "-lgcc"], check=True)
        command = [*self._qemu.split(), *_QEMU.split(), "-kernel", program]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=timeout
        )
        return _answer((done.stdout + done.stderr).splitlines())


def _case(images: np.ndarray, labels: np.ndarray, counts: list[int], classified: int) -> str:
    arrays = {
        "uint8_t case_images": images.ravel(),
        "uint8_t case_labels": labels,
        "int32_t case_counts": counts or [0],
    }
    sizes = {"CASE_IMAGES": len(images), "CASE_STEPS": len(counts), "CASE_CLASSIFIED": classified}
    lines = [f"#define {name} {size}" for name, size in sizes.items()]
    unused = "__attribute__((unused))"
    lines += [f"static const {name}[] {unused} = {{{', '.join(map(str, values))}}};" for name, values in arrays.items()]
    return "\n".join(lines) + "\n"


def _answer(lines: list[str]) -> Answer:
    words = [line.split() for line in lines if line.strip()]
    found = {kind: [word[1:] for word in words if word[0] == kind] for kind in ("scores", "block", "infer", "step")}
    if len(found["infer"]) != 1 or any(word[0] in ("error", "fault") for word in words):
        raise RuntimeError(f"the device stopped: {lines}")
    return Answer(
        np.array(found["scores"], np.int64),
        bytes.fromhex(found["block"][0][0]) if found["block"] else b"",
        int(found["infer"][0][0]),
        [int(step[0]) for step in found["step"]],
    )
