"""Every kind of file, damaged, and the code that reads it, called as the commands call it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from attacks import targets
from attacks.damage import damage
from attacks.judging import Finding, refused
from wage_tf import datasets, losses
from wage_tf.bits import NetworkBits
from wage_tf.export import read_packed
from wage_tf.integer import engine
from wage_tf.metrics import ErrorRate
from wage_tf.native.network import Network
from wage_tf.optimizers import IntegerSGD
from wage_tf.runs import checkpoints
from wage_tf.runs.directory import RunDirectory
from wage_tf.runs.source import Source
from wage_tf.search import best, oracles
from wage_tf.search.directory import SearchDirectory
from wage_tf.search.trials import Study

SHARES = {"run": 24, "checkpoint": 12, "search": 20, "packed": 30, "images": 10, "records": 2, "keras": 2}
_MOST_WORK = 10**8


class Readers:
    """Attacks on what reads files.

    Args:
        folder: Where they are copied to; whole ones are made beside it, once.
    """

    def __init__(self, folder: Path):
        self.folder, self.copy = folder, folder / "copy"
        self._readers: dict[str, tuple[str, Callable[[Path], None]]] = {
            "run": ("run", self._read_run),
            "checkpoint": ("run/checkpoints", self._read_checkpoint),
            "search": ("search", self._read_search),
            "packed": ("packed", self._read_packed),
            "images": ("images", self._read_images),
            "records": ("tfds", self._read_records),
            "keras": ("float", self._read_model),
        }

    def attack(self, rng: random.Random, say: Callable[[str], None]) -> None:
        """Damages one file and reads it."""
        (name,) = rng.choices(list(SHARES), SHARES.values())
        place, read = self._readers[name]
        shutil.rmtree(self.copy, ignore_errors=True)
        ignored = shutil.ignore_patterns("tensorboard", *(["checkpoints", "*.keras"] if name == "run" else []))
        shutil.copytree(self.whole / place, self.copy, ignore=ignored)
        file = targets.any_file(self.copy, rng)
        say(f"{name}: {damage(file, rng)} {file.relative_to(self.copy)}")
        refused(read, file)

    @cached_property
    def whole(self) -> Path:
        """What is attacked, before any damage."""
        return targets.made(self.folder.parent / "whole")

    @cached_property
    def _trained(self) -> keras.Model:
        model = RunDirectory(self.whole / "run").load_model()
        model.compile(IntegerSGD(8.0, bits=8), losses.SumSquaredError(), [ErrorRate()])
        return model

    @cached_property
    def _study(self) -> Study:
        config = SearchDirectory(self.whole / "search").read_config()
        return Study(config, datasets.load("digits"))

    def _read_run(self, file: Path) -> None:
        run = RunDirectory(self.copy)
        run.read_results() if file.name == "results.json" else run.read_config()

    def _read_checkpoint(self, file: Path) -> None:
        state = checkpoints.load_latest(self.copy, lambda line: None)
        if state is not None:
            state.restore(self._trained)

    def _read_search(self, file: Path) -> None:
        directory, study = SearchDirectory(self.copy), self._study
        if "oracle" in file.parts and file.name != "record.json":
            oracles.create(study.config, study.candidates, directory)
            return
        readers = {
            "record.json": directory.records,
            "tests.json": directory.test_errors,
            "search.json": directory.read_config,
        }
        readers.get(file.name, lambda: best.training_of(self.copy))()

    def _read_packed(self, file: Path) -> None:
        """A network that is read gives the same scores in NumPy and in C, or is refused."""
        graph, _ = read_packed(file)
        if max(np.prod(signal.shape) for signal in graph.signals.values()) > _MOST_WORK:
            return
        images = np.random.default_rng(0).integers(0, 256, (3, *graph.input_shape), np.uint8)
        expected = engine.infer(graph, images)
        if not np.array_equal(Network(graph, 3, threads=1).infer(images).reshape(expected.shape), expected):
            raise Finding("the scores in C are not those in NumPy")

    def _read_images(self, file: Path) -> None:
        if datasets.load(str(self.copy)).input_shape != (8, 8, 1):
            raise Finding("the images have another shape")

    def _read_records(self, file: Path) -> None:
        found = datasets.load("mnist", self.copy)
        if (found.train_size, found.test_size) != (24, 9):
            raise Finding(f"{found.train_size} and {found.test_size} records were read of 24 and 9")

    def _read_model(self, file: Path) -> None:
        images = datasets.load(str(self.whole / "images"))
        Source.of(str(file), "keep").converted(images, NetworkBits.parse("2-8-8-8"), None)
