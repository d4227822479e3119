"""Checkpoints that are whole but not the run's, and a run that another process uses: one clear line."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import train
from support.runs import wait_for
from wage_tf import files
from wage_tf.errors import UserError
from wage_tf.runs import checkpoints
from wage_tf.runs.checkpoints import DamagedCheckpoint, State

TINY = ["--model", "mlp", "--width", "0.05", "--limit", "160", "--batch-size", "32", "--histogram-freq", "0"]
COUNTERS = {"step": 5, "rows": [], "seconds": 1.0}
HOLD = "import sys, time; from pathlib import Path; from wage_tf import files\n"
HOLD += "with files.locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def packed(counters, **arrays):
    """A file of a checkpoint's form whose digest fits."""
    content = io.BytesIO()
    np.savez(content, counters=np.array(json.dumps(counters)), **arrays)
    return hashlib.sha256(content.getvalue()).digest() + content.getvalue()


def test_a_state_survives_the_way_through_bytes():
    state = State(5, ({"epoch": 1, "test_error": 12.5},), 1.5, [np.eye(2)], [np.int64(3)], [])
    found = checkpoints.from_bytes(checkpoints.to_bytes(state))
    assert (found.step, found.rows, found.seconds) == (5, state.rows, 1.5)
    assert [type(value) for value in found.rows[0].values()] == [int, float]
    assert np.array_equal(found.model[0], np.eye(2))
    assert found.optimizer[0] == 3


@pytest.mark.parametrize(
    "counters",
    [
        {},
        [],
        None,
        {**COUNTERS, "step": -1},
        {**COUNTERS, "step": "5"},
        {**COUNTERS, "rows": [1]},
        {**COUNTERS, "x": 1},
    ],
)
def test_a_right_digest_over_wrong_contents(counters):
    with pytest.raises(DamagedCheckpoint, match="no checkpoint"):
        checkpoints.from_bytes(packed(counters))


@pytest.mark.parametrize("member", [b"\x93NUMPY\x01\x00\x04\x00{(: ", b"\x93NUMPY\x01\x00", b"no array"])
def test_a_right_digest_over_what_is_no_array(member):
    content = io.BytesIO(packed(COUNTERS)[32:])
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("model0.npy", member)
    whole = hashlib.sha256(content.getvalue()).digest() + content.getvalue()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    with pytest.raises(DamagedCheckpoint):
        checkpoints.from_bytes(whole).restore(model)


@pytest.mark.parametrize("kind", ["U3", "complex64", "float64", "bool"])
def test_weights_of_another_type_are_another_networks(kind):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    with pytest.raises(DamagedCheckpoint, match="another network's weights"):
        State(1, (), 1.0, [np.zeros((1, 1), kind)], [], []).restore(model)


def test_a_right_digest_over_something_else():
    content = b"PK\x03\x04 is not all of a zip"
    with pytest.raises(DamagedCheckpoint, match="no checkpoint"):
        checkpoints.from_bytes(hashlib.sha256(content).digest() + content)


def test_a_checkpoint_of_another_network_is_one_line(tmp_path, capsys):
    run, other = tmp_path / "run", tmp_path / "other"
    assert train.main([*TINY, "--epochs", "1", "--run-dir", str(run)]) == 0
    assert train.main([*TINY, "--epochs", "1", "--run-dir", str(other), "--width", "0.1"]) == 0
    (mine,), (theirs,) = (checkpoints.paths(path / "checkpoints") for path in (run, other))
    mine.write_bytes(theirs.read_bytes())
    capsys.readouterr()
    assert train.main([*TINY, "--epochs", "2", "--run-dir", str(run), "--resume"]) == 2
    error = capsys.readouterr().err
    assert "another network's weights" in error
    assert error.count("\n") == 1


def test_a_checkpoint_of_another_place_in_the_training_is_one_line(tmp_path, capsys):
    run = tmp_path / "run"
    assert train.main([*TINY, "--epochs", "1", "--run-dir", str(run)]) == 0
    (path,) = checkpoints.paths(run / "checkpoints")
    state = checkpoints.load(path)
    checkpoints.save(run / "checkpoints", State(4801, state.rows, 1.0, state.model, state.optimizer, state.metrics))
    capsys.readouterr()
    assert train.main([*TINY, "--epochs", "3", "--run-dir", str(run), "--resume"]) == 2
    assert "is of step 4801 after 1 epochs, and an epoch has 5 steps now" in capsys.readouterr().err


def test_a_run_that_another_process_uses(tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        assert train.main([*TINY, "--epochs", "1", "--run-dir", str(run)]) == 2
        assert f"another process uses {run}" in capsys.readouterr().err
        assert list(run.iterdir()) == []
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    wait_for(lambda: is_free(run))


def is_free(run):
    with contextlib.suppress(UserError), files.locked(run):
        return True
