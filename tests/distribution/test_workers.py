"""Two worker processes on loopback: the bits of one device, killed workers, and starting over with another number."""

from __future__ import annotations

import shutil
import time

import pytest

from support.runs import assert_same_run, wait_for
from support.workers import output, start_workers
from wage_tf.cli import train
from wage_tf.runs import checkpoints

pytestmark = pytest.mark.slow

SETTINGS = ["--dataset", "digits", "--model", "mlp", "--width", "0.1", "--limit", "613", "--batch-size", "96"]
SETTINGS += ["--learning-rate", "8", "--histogram-freq", "0", "--checkpoint-steps", "1", "--epochs"]
STEPS_PER_EPOCH = 7
NEVER_ENDS = "100000"


def kill(victim, folder):
    """Two workers, one of which is killed at work: the other's exit code, and the seconds until it ended."""
    workers = start_workers(*SETTINGS, NEVER_ENDS, "--run-dir", "run", cwd=folder)
    try:
        wait_for(lambda: list(folder.glob("run/checkpoints/step-*.ckpt")), *workers, seconds=400)
        workers[victim].kill()
        started = time.monotonic()
        code = workers[1 - victim].wait(timeout=300)
        return code, time.monotonic() - started
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def assert_lost(outcome, folder, survivor):
    code, seconds = outcome
    error = output(folder, survivor)[1]
    assert code == 3
    assert seconds < 60
    assert error.startswith("train.py: error: another worker was lost (")
    assert "start all of them again with --resume" in error
    assert error.count("\n") == 1
    assert not (folder / "run" / "results.json").exists()


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder of two workers of which the second was killed, and how the chief ended."""
    folder = tmp_path_factory.mktemp("killed")
    return folder, kill(1, folder)


@pytest.fixture(scope="module")
def settings(killed):
    """Those of a training that ends after the kill, at least 56 steps long; every seventh step is on 37 images."""
    step = checkpoints.load(checkpoints.paths(killed[0] / "run" / "checkpoints")[-1]).step
    return [*SETTINGS, str(max(8, step // STEPS_PER_EPOCH + 2))]


@pytest.fixture(scope="module")
def alone(settings, tmp_path_factory):
    """That training on one device, never stopped."""
    path = tmp_path_factory.mktemp("alone") / "run"
    assert train.main([*settings, "--run-dir", str(path)]) == 0
    return path


def test_the_chief_ends_with_a_clear_line(killed):
    folder, outcome = killed
    assert_lost(outcome, folder, 0)


def test_without_the_chief_the_others_end_with_a_clear_line(tmp_path):
    assert_lost(kill(0, tmp_path), tmp_path, 1)


def test_a_whole_checkpoint_is_on_disk(killed):
    kept = checkpoints.paths(killed[0] / "run" / "checkpoints")
    assert kept
    for path in kept:
        assert checkpoints.load(path).step > 0


def test_resumed_on_one_device_it_ends_as_if_never_stopped(killed, settings, alone, tmp_path):
    shutil.copytree(killed[0] / "run", tmp_path / "run")
    assert train.main([*settings, "--run-dir", str(tmp_path / "run"), "--resume"]) == 0
    assert_same_run(alone, tmp_path / "run")


def test_resumed_on_two_workers_it_ends_as_one_device(killed, settings, alone, tmp_path, capsys):
    shutil.copytree(killed[0] / "run", tmp_path / "run")
    workers = start_workers(*settings, "--run-dir", "run", "--resume", cwd=tmp_path)
    assert [worker.wait(timeout=400) for worker in workers] == [0, 0], (output(tmp_path, 0), output(tmp_path, 1))
    assert_same_run(alone, tmp_path / "run")
    assert [output(tmp_path, index)[1] for index in (0, 1)] == ["", ""]
    assert train.main(["--evaluate", str(tmp_path / "run")]) == 0
    assert "on 360 images of digits" in capsys.readouterr().out
    assert "2 replicas on 2 workers" in output(tmp_path, 0)[0]
    security, *lines = output(tmp_path, 1)[0].splitlines()
    assert "without authentication" in security
    assert lines == ["worker 1 of 2 waits for the others"]
