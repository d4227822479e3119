"""Checkpoints that are whole but not the run's, and a run that another process uses: one clear line."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile

import keras
import numpy as np
import pytest

import train
from wage_tf import files
from wage_tf.runs import checkpoints
from wage_tf.runs.checkpoints import DamagedCheckpoint, State

TINY = ["--model", "mlp", "--width", "0.05", "--limit", "160", "--batch-size", "32", "--histogram-freq", "0"]
COUNTERS = {"step": 5, "rows": [], "seconds": 1.0}


def packed(counters, **arrays):
    """A file of a checkpoint's form whose digest fits."""
    content = io.BytesIO()
    np.savez(content, counters=np.array(json.dumps(counters)), **arrays)
    return hashlib.sha256(content.getvalue()).digest() + content.getvalue()


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


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of one epoch of five steps."""
    path = tmp_path_factory.mktemp("trained") / "run"
    assert train.main([*TINY, "--epochs", "1", "--run-dir", str(path)]) == 0
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: State(s.step, s.rows, 1.0, [w[1:] for w in s.model], s.optimizer, s.metrics), "another network's"),
        (
            lambda s: State(4801, s.rows, 1.0, s.model, s.optimizer, s.metrics),
            "is of step 4801 after 1 epochs, and an epoch has 5 steps now",
        ),
    ],
)
def test_a_checkpoint_of_another_network_or_place_in_the_training_is_one_line(
    change, message, trained, tmp_path, capsys
):
    run = shutil.copytree(trained, tmp_path / "run")
    (path,) = checkpoints.paths(run / "checkpoints")
    checkpoints.save(run / "checkpoints", change(checkpoints.load(path)))
    assert train.main([*TINY, "--epochs", "3", "--run-dir", str(run), "--resume"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_a_run_that_is_in_use_is_left_alone_until_it_is_free(tmp_path, capsys):
    """The lock is of an open file, so that this process' own counts too."""
    run = tmp_path / "run"
    with files.locked(run):
        assert train.main([*TINY, "--epochs", "1", "--run-dir", str(run)]) == 2
        assert f"another process uses {run}" in capsys.readouterr().err
        assert list(run.iterdir()) == []
    with files.locked(run):
        pass
