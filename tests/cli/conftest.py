"""A finished run, for tests of what comes after it."""

from __future__ import annotations

import pytest

import train
from support.runs import TINY


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A run of three epochs that was never stopped; no test changes it."""
    path = tmp_path_factory.mktemp("finished") / "run"
    assert train.main([*TINY, "--epochs", "3", "--run-dir", str(path)]) == 0
    return path
