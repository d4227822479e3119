"""Commands read their arguments before TensorFlow is imported, and end in one line."""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from wage_tf.cli import exits, startup

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("command", [["train.py"], ["tuner.py"], ["-m", "wage_tf.export"], ["-m", "wage_tf.integer"]])
def test_help_comes_before_tensorflow_and_without_a_word_on_stderr(command):
    words = [sys.executable, "-X", "importtime", *command, "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0
    assert "usage:" in done.stdout
    assert "tensorflow" not in done.stderr
    assert "keras" not in done.stderr


def test_the_collector_rests_while_tensorflow_is_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow")
    with startup.importing_tensorflow():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count()


def test_the_collector_works_on_where_tensorflow_is_there():
    with startup.importing_tensorflow():
        assert gc.isenabled()


def test_jax_stays_out_while_tensorflow_is_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    with startup.importing_tensorflow(), pytest.raises(ImportError, match="jax"):
        importlib.import_module("jax")
    assert "jax" not in sys.modules


def test_control_characters_are_written_out():
    assert exits.one_line("a\x1b[31m\nb\tc\u202e") == "a\\x1b[31m b c\\u202e"
