"""Files are written whole or not at all; checkpoints are what was saved."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from wage_tf import files
from wage_tf.runs import checkpoints
from wage_tf.runs.checkpoints import State


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "results.json"
    files.write_json(path, {"error": 1})
    before = path.read_bytes()

    def fail_half_way():
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_half_way()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def write_to_full_disk(path, content):
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr(Path, "write_bytes", write_to_full_disk)
    path = tmp_path / "step-000000001.ckpt"
    with pytest.raises(OSError, match="File too large") as error:
        files.write_bytes(path, b"weights")
    assert error.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_unfinished_files_are_known_and_removed(tmp_path):
    leftover = tmp_path / ".writing-abc.json"
    leftover.write_text("")
    (tmp_path / "kept.json").write_text("")
    assert files.is_unfinished(leftover)
    files.remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.json"]


def state(step):
    generator = np.random.default_rng(step)
    arrays = [generator.normal(size=shape).astype(np.float32) for shape in ((3, 4), (5,), ())]
    return State(step, ({"epoch": 1, "train_error": 12.5},), 3.5, arrays * 4, [np.int64(step)], arrays[:1])


def test_checkpoint_round_trip(tmp_path):
    saved = state(7)
    loaded = checkpoints.load(checkpoints.save(tmp_path, saved))
    assert (loaded.step, loaded.rows, loaded.seconds) == (7, saved.rows, 3.5)
    assert [type(value) for value in loaded.rows[0].values()] == [int, float]
    for part in ("model", "optimizer", "metrics"):
        for one, other in zip(getattr(saved, part), getattr(loaded, part), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_latest_two_are_kept_in_order(tmp_path):
    for step in (9, 10, 100, 1000):
        checkpoints.save(tmp_path, state(step))
    assert [path.name for path in checkpoints.paths(tmp_path)] == ["step-000000100.ckpt", "step-000001000.ckpt"]


@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=200)
def test_any_damage_is_noticed(data, tmp_path_factory):
    path = checkpoints.save(tmp_path_factory.mktemp("checkpoint"), state(1))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), "cut"):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(checkpoints.DamagedCheckpoint, match="is damaged"):
        checkpoints.load(path)


def test_the_digest_is_of_the_rest_of_the_file(tmp_path):
    content = checkpoints.save(tmp_path, state(1)).read_bytes()
    assert content[:32] == hashlib.sha256(content[32:]).digest()
