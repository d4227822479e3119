"""The first steps of a training on QEMU's Cortex-M4."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from devices.emulator import Emulator
from experiments.device.pair import Pair

MACHINE, LEVEL = "cortex-m4", "-O2"
_TIMEOUT = 7200


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a device did.

    Attributes:
        block: The weights that it saved after the last step.
        step: Instructions of that step.
        image: Instructions of an image afterwards.
    """

    block: bytes
    step: int
    image: int


Device = Callable[[Path, np.ndarray, np.ndarray], Answer]
"""Trains the network of a folder that `write_c` made, from its exported weights on.

Takes the folder, uint8 images [steps, batch, height, width, channels] and their class numbers [steps, batch].
"""


def cortex(folder: Path, images: np.ndarray, labels: np.ndarray) -> Answer:
    """The `Device` that QEMU emulates."""
    steps, batch = labels.shape
    flat, emulator = images.reshape(-1, *images.shape[2:]), Emulator(folder, MACHINE, LEVEL)
    answer = emulator.run(flat, labels.ravel(), [batch] * steps, classified=1, timeout=_TIMEOUT)
    return Answer(answer.block, answer.steps[-1], answer.infer)


def repeated(device: Device, pair: Pair, images: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    """Lets a device repeat all the steps that a pair has done; its figures.

    Raises:
        ValueError: If the two saved blocks differ.
    """
    answer = device(pair.folder, images, labels)
    if answer.block != pair.host.save():
        raise ValueError(f"{MACHINE}: its block of weights after {pair.steps} steps is not this machine's")
    return {
        "machine": f"{MACHINE} {LEVEL}",
        "equal_steps": pair.steps,
        "step_instructions": answer.step,
        "image_instructions": answer.image,
    }
