"""Commands in odd environments: other Keras settings, closed outputs, warnings as errors, terminals without µ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.runs import TINY

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def run(tmp_path, *python, shell="", **environment):
    command = [sys.executable, *python, str(ROOT / "train.py"), *TINY, "--epochs", "1", "--run-dir", "run"]
    if shell:
        command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, timeout=300, check=False
    )


def is_trained(tmp_path):
    return json.loads((tmp_path / "run" / "results.json").read_text())["epochs"] == 1


def test_a_backend_and_a_keras_json_of_other_programs_are_overridden_with_a_word_each_and_a_closed_output(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"image_data_format": "channels_first", "floatx": "float16"}))
    done = run(tmp_path, shell=">&-", KERAS_HOME=str(tmp_path), KERAS_BACKEND="nonsense")
    assert done.returncode == 0
    assert sorted(done.stderr.decode().splitlines()) == [
        f"warning: {found} is for other programs: this command uses {used}"
        for found, used in (
            ("KERAS_BACKEND=nonsense", "tensorflow"),
            ("floatx=float16 in keras.json", "float32"),
            ("image_data_format=channels_first in keras.json", "channels_last"),
        )
    ]
    assert is_trained(tmp_path)


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-"])
def test_closed_outputs(closed, tmp_path):
    assert run(tmp_path, shell=closed).returncode == 0
    assert is_trained(tmp_path)


def test_warnings_as_errors_on_a_terminal_without_the_characters_which_shows_the_run_and_nothing_else(tmp_path):
    done = run(tmp_path, "-W", "error", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode("ascii").splitlines()
    for words in ("data digits 28x28x1", "network mlp, width 0.05, bits 2-8-8-8", "eta 8@0", "mm? at 45 nm"):
        assert any(words in " ".join(line.split()) for line in lines)
    assert lines[-1].startswith("test error ")
    assert is_trained(tmp_path)


def test_a_broken_pipe_is_named(tmp_path):
    done = run(tmp_path, shell="| true; exit ${PIPESTATUS[0]}")
    assert done.returncode == 2
    assert b"the output was closed" in done.stderr
    assert b"Traceback" not in done.stderr
