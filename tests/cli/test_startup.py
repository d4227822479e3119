"""Commands read their arguments before TensorFlow is imported, and end in one line."""

from __future__ import annotations

import gc
import importlib
import logging
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


@pytest.mark.parametrize("verbose", [True, False])
def test_a_library_warns_only_where_that_is_asked_for(verbose):
    """TensorFlow Datasets warns of a folder that it does not find, before the command says so in one line."""
    absl = logging.getLogger("absl")
    before = absl.level
    try:
        absl.setLevel(logging.WARNING)
        with startup.importing_tensorflow(verbose):
            pass
        assert absl.isEnabledFor(logging.WARNING) == verbose
    finally:
        absl.setLevel(before)


@pytest.mark.parametrize(
    ("command", "module"), [("wage-train", "training_arguments"), ("wage-tune", "tune"), ("wage-export", "export")]
)
def test_a_console_script_calls_the_others_so_in_its_help(command, module, monkeypatch, capsys):
    """Outside a clone there is no train.py; the column of remarks stays where it is."""
    parts = importlib.import_module(f"wage_tf.cli.{module}")
    in_a_clone = parts._EPILOG
    monkeypatch.setattr(sys, "argv", [f"/usr/bin/{command}"])
    with pytest.raises(SystemExit):
        parts.main(["--help"]) if hasattr(parts, "main") else parts.parser().parse_args(["--help"])
    said = capsys.readouterr().out
    assert f"  {command} " in said
    assert ".py" not in said
    assert "wage_tf.export" not in said
    for line in in_a_clone.splitlines():
        remark = line.partition("   ")[2].strip()
        assert not remark or any(new.endswith(remark) and len(new) == len(line) for new in said.splitlines())


def test_jax_stays_out_while_tensorflow_is_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    with startup.importing_tensorflow(), pytest.raises(ImportError, match="jax"):
        importlib.import_module("jax")
    assert "jax" not in sys.modules


def test_control_characters_are_written_out():
    assert exits.one_line("a\x1b[31m\nb\tc\u202e") == "a\\x1b[31m b c\\u202e"
