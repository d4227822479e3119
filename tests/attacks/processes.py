"""Trainings that are killed at any moment, and commands in odd environments; each a process of its own."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from attacks.judging import Finding, answer, check
from support.runs import assert_same_run
from wage_tf.cli import train

ROOT = Path(__file__).resolve().parents[2]
TRAINING = ("--model", "mlp", "--width", "0.05", "--limit", "320", "--batch-size", "32", "--epochs", "4")
TRAINING += ("--histogram-freq", "0", "--checkpoint-steps", "3")
ENVIRONMENTS = (
    {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
    {"COLUMNS": "1", "LINES": "1", "TERM": "none"},
    {"KERAS_BACKEND": "nonsense"},
    {"KERAS_BACKEND": ""},
    {"HOME": "/nonexistent", "TMPDIR": "/nonexistent"},
    {"TF_CONFIG": "{"},
    {"TFDS_DATA_DIR": "s3://nowhere"},
    {"KERASTUNER_TUNER_ID": "chief"},
    {"WAGE_TF_SEARCH_SECRET": "short"},
    {"PYTHONWARNINGS": "error"},
    {"TZ": "nonsense", "LANG": "xx_YY"},
    {"OMP_NUM_THREADS": "-1"},
    {"MPLBACKEND": "nonsense"},
)


class Kills:
    """A training that is killed once or more ends, resumed, with the bits of one that never was.

    Args:
        folder: Where it is trained.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def whole(self, engine: str) -> Path:
        """The run that is never killed."""
        if not (self.folder / engine).exists():
            code = answer(train.main, *TRAINING, "--engine", engine, "--run-dir", self.folder / engine)
            if code != 0:
                raise Finding(f"the whole run ends with {code}")
        return self.folder / engine

    def attack(self, rng: random.Random, say: Callable[[str], None]) -> None:
        """Kills a training at random moments, then resumes it to its end."""
        engine = rng.choice(("keras", "integer"))
        whole = self.whole(engine)
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        words = (*TRAINING, "--engine", engine, "--run-dir", str(self.folder / "run"), "--resume")
        for _ in range(rng.randrange(1, 4)):
            signum = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
            seconds = rng.uniform(0, 15)
            say(f"engine {engine}, {signum.name} after {seconds:.2f} s")
            with open(self.folder / "out", "wb") as out:
                process = subprocess.Popen([sys.executable, str(ROOT / "train.py"), *words], stdout=out, stderr=out)
            time.sleep(seconds)
            process.send_signal(signum)
            try:
                process.wait(120)
            except subprocess.TimeoutExpired as error:
                process.kill()
                raise Finding(f"{signum.name} does not end it") from error
            if b"Traceback" in (self.folder / "out").read_bytes():
                raise Finding((self.folder / "out").read_text(errors="replace")[-2000:])
        answer(train.main, *words)
        try:
            assert_same_run(whole, self.folder / "run")
        except (AssertionError, OSError) as error:
            raise Finding(f"the resumed run is another: {error}") from error


class Environments:
    """Commands in odd environments, with odd streams and permissions.

    Args:
        folder: Where they run.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def attack(self, rng: random.Random, say: Callable[[str], None]) -> None:
        """Runs a command with one or two oddities."""
        environment = {**rng.choice(ENVIRONMENTS), **rng.choice(ENVIRONMENTS)}
        words = rng.choice([("train.py", *TRAINING, "--epochs", "1"), ("train.py", "--help"), ("tuner.py", "--help")])
        run = () if "--help" in words else ("--run-dir", f"µ\x1b[31m {rng.random()}")
        closed = rng.choice(("", "", ">&-", "2>&-", "<&-"))
        say(f"{' '.join(words[:1])} {closed} in {environment}")
        check(*_run(self.folder, *words, *run, closed=closed, **environment))


def _run(folder: Path, script: str, *words: str, closed: str = "", **environment: str) -> tuple[int, str, str]:
    """Runs a script of the repository; `closed` is the shell's word for a stream that is not there."""
    program = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, str(ROOT / script), *words]
    done = subprocess.run(
        program, cwd=folder, env={**os.environ, **environment}, capture_output=True, timeout=600, check=False
    )
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
