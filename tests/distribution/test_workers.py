"""Two worker processes on loopback: the bits of one device, killed workers, and starting over with another number."""

from __future__ import annotations

import shutil
import time

import pytest
from run_helper import assert_same_run
from workers_helper import output, start_workers

import train
from wage_tf import checkpoints

SETTINGS = ["--dataset", "mnist", "--model", "mlp", "--width", "0.1", "--limit", "613", "--batch-size", "96"]
SETTINGS += ["--epochs", "8", "--learning-rate", "8", "--histogram-freq", "0", "--checkpoint-steps", "1"]


@pytest.fixture(scope="module")
def alone(tfds_data_dir, tmp_path_factory):
    """56 steps on one device, every seventh of them on 37 images."""
    path = tmp_path_factory.mktemp("alone") / "run"
    assert train.main([*SETTINGS, "--run-dir", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def killed(tfds_data_dir, tmp_path_factory):
    """Two workers of which the second was killed at work: the folder, the chief's exit code, seconds until it ended."""
    folder = tmp_path_factory.mktemp("killed")
    chief, other = start_workers(*SETTINGS, "--run-dir", "run", cwd=folder)
    try:
        deadline = time.monotonic() + 400
        while not list(folder.glob("run/checkpoints/step-*.ckpt")):
            assert chief.poll() is None, output(folder, 0)
            assert other.poll() is None, output(folder, 1)
            assert time.monotonic() < deadline
            time.sleep(0.01)
        other.kill()
        started = time.monotonic()
        code = chief.wait(timeout=300)
        return folder, code, time.monotonic() - started
    finally:
        for worker in (chief, other):
            worker.kill()
            worker.wait()


def test_the_others_end_with_a_clear_line(killed):
    folder, code, seconds = killed
    error = output(folder, 0)[1]
    assert code == 3
    assert seconds < 60
    assert error.startswith("train.py: error: another worker was lost (")
    assert "start all of them again with --resume" in error
    assert error.count("\n") == 1
    assert not (folder / "run" / "results.json").exists()


def test_a_whole_checkpoint_is_on_disk(killed):
    kept = checkpoints.paths(killed[0] / "run" / "checkpoints")
    assert kept
    for path in kept:
        assert 0 < checkpoints.load(path).step < 56


def test_resumed_on_one_device_it_ends_as_if_never_stopped(killed, alone, tmp_path):
    shutil.copytree(killed[0] / "run", tmp_path / "run")
    assert train.main([*SETTINGS, "--run-dir", str(tmp_path / "run"), "--resume"]) == 0
    assert_same_run(alone, tmp_path / "run")


def test_resumed_on_two_workers_it_ends_as_one_device(killed, alone, tmp_path, capsys):
    shutil.copytree(killed[0] / "run", tmp_path / "run")
    workers = start_workers(*SETTINGS, "--run-dir", "run", "--resume", cwd=tmp_path)
    assert [worker.wait(timeout=400) for worker in workers] == [0, 0], (output(tmp_path, 0), output(tmp_path, 1))
    assert_same_run(alone, tmp_path / "run")
    assert [output(tmp_path, index)[1] for index in (0, 1)] == ["", ""]
    assert train.main(["--evaluate", str(tmp_path / "run")]) == 0
    assert "on 10000 images of mnist" in capsys.readouterr().out
    assert "2 replicas on 2 workers" in output(tmp_path, 0)[0]
    assert output(tmp_path, 1)[0] == "worker 1 of 2 waits for the others\n"


def test_what_the_chief_finds_wrong_ends_all(alone, tmp_path):
    workers = start_workers(*SETTINGS, "--run-dir", str(alone), cwd=tmp_path)
    assert [worker.wait(timeout=400) for worker in workers] == [2, 2], (output(tmp_path, 0), output(tmp_path, 1))
    for index in (0, 1):
        error = output(tmp_path, index)[1]
        assert "already holds a run" in error
        assert error.count("\n") == 1
