"""Commands read their arguments before TensorFlow is imported, import it quietly, and end in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.written_runs import write_run
from wage_tf.cli import exits

ROOT = Path(__file__).resolve().parents[2]


def run(*command, **environment):
    variables = {name: text for name, text in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**variables, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("command", [["train.py"], ["tuner.py"], ["-m", "wage_tf.export"], ["-m", "wage_tf.integer"]])
def test_help_comes_before_tensorflow_and_without_a_word_on_stderr(command):

    done = run("-X", "importtime", *command, "--help")
    assert done.returncode == 0
    assert "usage:" in done.stdout
    assert "tensorflow" not in done.stderr
    assert "keras" not in done.stderr


@pytest.mark.slow
def test_an_export_writes_nothing_to_stderr(tmp_path):
    write_run(tmp_path / "run")
    done = run("-m", "wage_tf.export", str(tmp_path / "run"), "--to", "litert", "--out", str(tmp_path / "net.tflite"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "µJ per image" in done.stdout


def test_control_characters_are_written_out():
    assert exits.one_line("a\x1b[31m\nb\tc\u202e") == "a\\x1b[31m b c\\u202e"
