"""Bars for what takes long: at a terminal they count, elsewhere nothing is printed."""

from __future__ import annotations

import sys

import pytest

from wage_tf.cli.progress import WIPE, with_bar


@pytest.mark.parametrize("is_terminal", [True, False])
def test_batches_pass_and_are_counted_when_they_are_done_with(is_terminal, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    counted = with_bar(iter("abc"), 3)
    assert next(counted) == "a"
    assert capsys.readouterr().out == ""
    assert list(counted) == ["b", "c"]
    said = capsys.readouterr().out
    if is_terminal:
        assert "1/3" in said
        assert said.endswith(WIPE)
    else:
        assert said == ""
