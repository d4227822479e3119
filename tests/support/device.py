"""A network that was exported for training, compiled and told what to do; see tests/export/device.c."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import numpy as np

from support.images import random_images
from wage_tf import integer
from wage_tf.export import Card, Training, with_block, write_c
from wage_tf.export.c_tail import frozen_before

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
SANITIZED = ("-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CARD = Card("net", "2-8-8-8", "x/256", ())
SEED = 7
_PROGRAM = Path(__file__).parents[1] / "export" / "device.c"


class Device:
    """Commands for a compiled network; `run` carries them out in one process and returns the answers in order."""

    def __init__(self, folder: Path, compiler: str = "gcc", flags: tuple[str, ...] = SANITIZED):
        self._path = folder / "device"
        sources = [_PROGRAM, *sorted(folder.glob("wage_*.c"))]
        subprocess.run([compiler, *STRICT, *flags, f"-I{folder}", "-o", self._path, *sources], check=True)
        header = (folder / "wage_net.h").read_text()
        words = [line.split() for line in header.splitlines() if line.startswith("#define ")]
        sizes = {word[1]: int(word[2]) for word in words if len(word) > 2 and word[2].isdigit()}
        self.block_bytes = sizes["WAGE_STORED"] + 4 * sizes["WAGE_BIASES"] + 28
        self._score_bytes = 4 * sizes["WAGE_OUTPUTS"]
        self._commands: list[bytes] = []
        self._answers: list[int] = []

    def train(self, images, labels, network=0, count=None):
        count = len(images) if count is None else count
        self._add(b"T", network, struct.pack("i", count) + images.tobytes() + labels.astype(np.uint8).tobytes(), 4)

    def rate(self, log2, network=0):
        self._add(b"R", network, struct.pack("i", log2), 4)

    def load(self, block, network=0):
        self._add(b"L", network, struct.pack("i", len(block)) + block, 4)

    def save(self, network=0):
        self._add(b"S", network, b"", self.block_bytes)

    def infer(self, image, network=0):
        self._add(b"I", network, image.tobytes(), self._score_bytes)

    def run(self):
        """A status, a block or scores for every command since the last run."""
        commands, sizes = b"".join(self._commands), self._answers
        self._commands, self._answers = [], []
        done = subprocess.run([self._path], input=commands, capture_output=True, check=True)
        assert done.stderr == b""
        answers, place = [], 0
        for size in sizes:
            answer = done.stdout[place : place + size]
            place += size
            if size == self.block_bytes:
                answers.append(answer)
            else:
                numbers = np.frombuffer(answer, np.int32)
                answers.append(numbers if size == self._score_bytes else int(numbers[0]))
        assert place == len(done.stdout)
        return answers

    def _add(self, command, network, content, answer):
        self._commands.append(command + struct.pack("i", network) + content)
        self._answers.append(answer)


def exported(folder, graph, batch=4, train_from=None, log2_eta=0, compiler="gcc", flags=("-O1",)):
    write_c(folder, graph, CARD, Training(batch, train_from, log2_eta, SEED))
    return Device(folder, compiler, flags)


def batches(graph, steps, batch):
    """Batches of every size up to the largest."""
    rng = np.random.default_rng(1)
    for step in range(steps):
        count = 1 + step % batch
        yield rng.integers(0, 256, (count, *graph.input_shape), np.uint8), rng.integers(0, graph.output.shape[0], count)


def assert_trains_alike(device, graph, steps, batch, train_from=None, log2_eta=0, network=0, all_change=True):
    expected = frozen_before(graph, train_from)
    image = random_images(graph.input_shape, 1)
    device.infer(image, network)
    for step, (images, labels) in enumerate(batches(graph, steps, batch)):
        device.train(images, labels, network)
        expected = integer.train_step(expected, images, labels, log2_eta, SEED, step)
    device.infer(image, network)
    device.save(network)
    before, *statuses, scores, block = device.run()
    assert set(statuses) == {0}
    assert np.array_equal(before, integer.infer(graph, image)[0])
    assert np.array_equal(scores, integer.infer(expected, image)[0])
    found = with_block(graph, block)
    for name, parameter in expected.parameters.items():
        stored = found.parameters[name].accumulators
        assert np.array_equal(stored, parameter.accumulators), name
        is_trained = parameter.variable is not None and all_change
        assert not is_trained or not np.array_equal(stored, graph.parameters[name].accumulators), name
