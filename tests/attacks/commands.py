"""Damaged runs, searches, models and images, and whole commands that begin with them, in this process."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import keras

from attacks import targets
from attacks.damage import damage
from attacks.judging import Finding, answer
from attacks.targets import SEARCH, TINY
from wage_tf.cli import export, train, tune, verify


class Commands:
    """Attacks on copies of a finished run, a search, a float model and a folder of images.

    Args:
        folder: Where they are copied to; whole ones are made beside it, once.
    """

    def __init__(self, folder: Path):
        self.folder, self.new = folder, folder / "new"
        self._targets: dict[str, Callable[[Path, random.Random], tuple]] = {
            "run": self._of_run,
            "search": self._of_search,
            "float": self._of_model,
            "images": self._of_images,
        }

    def attack(self, rng: random.Random, say: Callable[[str], None]) -> None:
        """Damages one file of one target and runs a command that reads it."""
        name = rng.choice(list(self._targets))
        copy, victim = self.folder / "copy", self.folder / "victim"
        victim.write_text("the user's")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.whole / name, copy)
        shutil.rmtree(self.new, ignore_errors=True)
        self.new.mkdir()
        file = targets.any_file(copy, rng)
        command, *words = self._targets[name](copy, rng)
        say(f"{command.__module__} of {name}: {damage(file, rng)} {file.relative_to(copy)}")
        answer(command, *words)
        keras.backend.clear_session()
        if victim.read_text() != "the user's":
            raise Finding(f"{victim} outside of the target was changed")

    @cached_property
    def whole(self) -> Path:
        """What is attacked, before any damage."""
        return targets.made(self.folder.parent / "whole")

    def _of_run(self, copy: Path, rng: random.Random) -> tuple:
        train_again = (train.main, *TINY, "--dataset", self.whole / "images", "--run-dir", copy, "--resume")
        commands = [(train.main, "--evaluate", copy), (verify.main, copy, "--steps", 1), train_again]
        commands.append((export.main, copy, "--to", rng.choice(("packed", "c")), "--out", self.new / "exported"))
        return rng.choice(commands)

    def _of_search(self, copy: Path, rng: random.Random) -> tuple:
        found = rng.choice([copy, copy / "best.json"])
        again = (tune.main, *SEARCH, "--run-dir", copy, "--resume")
        return rng.choice(
            [again, (train.main, *TINY, "--limit", 64, "--bits-from", found, "--run-dir", self.new / "run")]
        )

    def _of_model(self, copy: Path, rng: random.Random) -> tuple:
        model, images = copy / "model.keras", ("--dataset", self.whole / "images")
        commands = [(train.main, "--from", model, *images, "--epochs", 1, "--run-dir", self.new / "run")]
        commands.append((export.main, model, "--to", rng.choice(("packed", "c")), "--out", self.new / "exported"))
        commands.append((verify.main, model, *images, "--steps", 1))
        return rng.choice(commands)

    def _of_images(self, copy: Path, rng: random.Random) -> tuple:
        sizes = [(), ("--image-size", 8), ("--image-size", 2**31 - 1)]
        return (train.main, *TINY, "--dataset", copy, "--run-dir", self.new / "run", *rng.choice(sizes))
