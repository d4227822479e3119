"""Files that are cut, changed in a bit, overwritten, swapped or made up, and the commands that read them."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from attacks.judging import Finding, answer
from wage_tf.cli import export, train, tune, verify
from wage_tf.errors import UserError
from wage_tf.export import read_packed

TINY = ("--model", "mlp", "--width", "0.05", "--histogram-freq", "0", "--epochs", "2")
SEARCH = ("--model", "mlp", "--width", "0.25", "--limit", "500", "--learning-rates", "8", "--epochs", "1")
SEARCH += ("--weights", "2,8")
HOSTILE = (
    b"",
    b"\0" * 4096,
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"NaN",
    b"null",
    b"[]",
    b"{}",
    b'"\\ud800"',
    b"1e999",
    b"\xff\xfe\x00",
    b"PK\x05\x06" + bytes(18),
    b"\x89HDF\r\n\x1a\n",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
    b"P6 8 8 65535\n" + bytes(384),
    b"WAGE-INT\x02\x00\xff\xff\xff\xff",
    b" " * (1 << 22),
)
VALUES = (
    None,
    True,
    -1,
    2**70,
    1e308,
    "",
    "\0",
    "x" * 10_000,
    "../../../victim",
    "\x1b[2J\n",
    [],
    {},
    [[]],
    "gs://a/b",
)


class Damage:
    """Attacks on copies of a finished run, a search, a packed file and a folder of images.

    Args:
        folder: Where they are made, once, and copied.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.targets: dict[str, Callable[[Path, random.Random], None]] = {
            "run": self._use_run,
            "search": self._use_search,
            "packed": self._use_packed,
            "images": self._use_images,
        }

    def attack(self, rng: random.Random, say: Callable[[str], None]) -> None:
        """Damages one file of one target and runs a command that reads it."""
        name = rng.choice(list(self.targets))
        copy, victim = self.folder / "copy", self.folder / "victim"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.whole / name, copy)
        file = rng.choice(
            sorted(path for path in copy.rglob("*") if path.is_file() and "tensorboard" not in path.parts)
        )
        say(f"{name}: {damage(file, rng)} {file.relative_to(copy)}")
        self.targets[name](copy, rng)
        if victim.read_text() != "the user's":
            raise Finding(f"{victim} outside of the target was changed")

    @cached_property
    def whole(self) -> Path:
        """What is attacked, before any damage."""
        path = self.folder / "whole"
        path.mkdir()
        (self.folder / "victim").write_text("the user's")
        for part, class_name, number in ((p, c, n) for p in ("train", "test") for c in "ab" for n in range(6)):
            image = path / "images" / part / class_name / f"{number}.{('png', 'bmp', 'jpg')[number % 3]}"
            image.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).save(image)
        images = ("--dataset", path / "images")
        for command, words in (
            (train.main, [*TINY, *images, "--run-dir", path / "run"]),
            (tune.main, [*SEARCH, "--run-dir", path / "search"]),
            (export.main, [path / "run", "--to", "packed", "--out", path / "packed" / "model.wage"]),
        ):
            (path / "packed").mkdir(exist_ok=True)
            if code := answer(command, *words):
                raise RuntimeError(f"the whole target cannot be made, exit code {code}: {words}")
        return path

    def _use_run(self, copy: Path, rng: random.Random) -> None:
        train_again = (train.main, *TINY, "--dataset", self.whole / "images", "--run-dir", copy, "--resume")
        commands = [(train.main, "--evaluate", copy), (verify.main, copy, "--steps", 1), train_again]
        commands.append((export.main, copy, "--to", rng.choice(("packed", "c")), "--out", self.folder / "exported"))
        shutil.rmtree(self.folder / "exported", ignore_errors=True)
        (self.folder / "exported").unlink(missing_ok=True)
        answer(*rng.choice(commands))

    def _use_search(self, copy: Path, rng: random.Random) -> None:
        again = (tune.main, *SEARCH, "--run-dir", copy, "--resume")
        new = self.folder / "new-run"
        shutil.rmtree(new, ignore_errors=True)
        found = (
            train.main,
            *TINY,
            "--limit",
            64,
            "--bits-from",
            rng.choice([copy, copy / "best.json"]),
            "--run-dir",
            new,
        )
        answer(*rng.choice([again, found]))

    def _use_packed(self, copy: Path, rng: random.Random) -> None:
        try:
            read_packed(copy / "model.wage")
        except UserError as error:
            if "\n" in str(error):
                raise Finding(f"an error of several lines: {error}") from error

    def _use_images(self, copy: Path, rng: random.Random) -> None:
        new = self.folder / "new-run"
        shutil.rmtree(new, ignore_errors=True)
        sizes = [(), ("--image-size", 8), ("--image-size", 2**31 - 1)]
        answer(train.main, *TINY, "--dataset", copy, "--run-dir", new, *rng.choice(sizes))


def damage(file: Path, rng: random.Random) -> str:
    """Damages a file, and says how."""
    content = file.read_bytes()
    place = rng.randrange(len(content) or 1)
    kind = rng.choice(("bit", "cut", "garbage", "hostile", "gone", "folder", "link", "value"))
    if kind == "bit" and content:
        file.write_bytes(content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :])
    elif kind == "cut":
        file.write_bytes(content[:place])
    elif kind == "garbage":
        file.write_bytes(content[:place] + rng.randbytes(rng.randrange(1, 64)) + content[place + rng.randrange(64) :])
    elif kind == "hostile":
        file.write_bytes(rng.choice(HOSTILE))
    elif kind == "folder":
        file.unlink()
        file.mkdir()
    elif kind == "link":
        file.unlink()
        os.symlink(rng.choice(("/dev/null", file, "/etc/passwd", "nowhere")), file)
    elif kind == "value" and file.suffix == ".json":
        return _change_value(file, content, rng)
    else:
        file.unlink()
        return "gone:"
    return f"{kind} at {place}:"


def _change_value(file: Path, content: bytes, rng: random.Random) -> str:
    value = json.loads(content)
    parents = []

    def collect(node: object) -> None:
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            parents.append((node, key))
            if isinstance(child, dict | list):
                collect(child)

    collect(value)
    if parents:
        node, key = rng.choice(parents)
        node[key] = rng.choice(VALUES)
        file.write_text(json.dumps(value))
        return f"{key} is {str(node[key])[:20]!r}:"
    return "unchanged:"
