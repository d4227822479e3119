"""Command lines with words that are no values of their options, in this process."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from attacks.judging import Finding, answer
from wage_tf.cli import export, train, tune, verify

WORDS = (
    "", " ", "-1", "0", "nan", "inf", "1e309", "٣", "²", "0x10", "1_000", "1,", "2-8", "f", "f,f,f,f,f", "17,8,8,8",
    "2:8,8,8", "0:8", "0:3", "1:8,0:4", "9" * 5000, "../x", "a\nb\x1b[31m", "é\u202e", "\udcff", "\0", "--",
    "@/etc/passwd", "gs://a/b", "/dev/null", "x" * 5000, "[" * 2000, "%s%n{}", "𝟚", "-0.5", "+8",
)  # fmt: skip
OPTIONS = {
    train.main: (
        "--bits", "--schedule", "--batch-size", "--epochs", "--seed", "--width", "--beta", "--factor", "--limit",
        "--image-size", "--dataset", "--data-dir", "--model", "--engine", "--strategy", "--pattern", "--bits-from",
        "--from", "--weights", "--gamma", "--clip-bits", "--checkpoint-steps", "--evaluate", "--nothing",
    ),
    tune.main: (
        "--weights", "--activations", "--gradients", "--errors", "--per-layer", "--learning-rates", "--oracle",
        "--max-trials", "--epochs", "--executions", "--max-cost", "--max-error", "--cost-weight", "--workers",
        "--validation", "--dataset", "--model", "--schedule", "--nothing",
    ),
    export.main: ("--to", "--out", "--nothing"),
    verify.main: ("--dataset", "--data-dir", "--image-size", "--images", "--steps", "--batch-size", "--nothing"),
}  # fmt: skip


class Words:
    """Attacks on the parsers; a run directory that nobody can make keeps the rest from a training.

    Args:
        folder: Where there is no run.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def attack(self, rng: random.Random, say: Callable[[str], None]) -> None:
        """Gives one or two options hostile words."""
        command = rng.choice(list(OPTIONS))
        words = [
            word
            for option in rng.choices(OPTIONS[command], k=rng.randrange(1, 3))
            for word in (option, rng.choice(WORDS))
        ]
        if command in (train.main, tune.main):
            words += [
                "--run-dir",
                "/dev/null/run",
                *(["--model", "mlp", "--width", "0.05"] if rng.random() < 0.9 else []),
            ]
        else:
            words += [rng.choice([str(self.folder / "nothing"), *WORDS])]
        say(f"{command.__module__} {' '.join(word[:30] for word in words)!r}")
        if answer(command, *words) == 0 and "--help" not in words:
            raise Finding("it was accepted")
