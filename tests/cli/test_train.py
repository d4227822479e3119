"""train.py as a user runs it: in-process for what it writes, as a process for kills, signals and what it prints."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import models
import train
from support.images import image_folder
from support.runs import TINY, assert_same_run, saved_weights, wait_for
from wage_tf.cli import training as command
from wage_tf.cli import training_arguments
from wage_tf.runs import checkpoints
from wage_tf.runs.guards import StopOnSignal

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def start_process(*args, cwd):
    command = [sys.executable, str(ROOT / "train.py"), *args]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class TestRunDirectory:
    def test_metrics_has_a_row_per_epoch(self, finished):
        with open(finished / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["epoch"] for row in rows] == ["1", "2", "3"]
        assert all(0 <= float(row["test_error"]) <= 100 for row in rows)

    def test_results_are_the_metrics(self, finished):
        results = json.loads((finished / "results.json").read_text())
        with open(finished / "metrics.csv", newline="") as file:
            errors = [float(row["test_error"]) for row in csv.DictReader(file)]
        assert results["test_error"] == errors[-1]
        assert results["best_test_error"] == min(errors)
        assert results["best_epoch"] == 1 + errors.index(min(errors))
        assert (results["epochs"], results["seed"], results["bits"]) == (3, 0, "2-8-8-8")
        assert (results["model"], results["dataset"]) == ("mlp", "digits")
        assert {"python", "tensorflow", "keras", "numpy"} <= results["versions"].keys()

    def test_weights_are_on_the_grid(self, finished):
        kernels = [value for value in saved_weights(finished).values() if value.ndim == 2]
        assert len(kernels) == 3
        for kernel in kernels:
            assert np.array_equal(kernel * 128, np.rint(kernel * 128))
            assert np.abs(kernel).max() <= 0.5

    def test_the_same_seed_gives_the_same_run_and_resume_without_a_run_starts_one(self, finished, tmp_path):
        assert train.main([*TINY, "--epochs", "3", "--run-dir", str(tmp_path / "again"), "--resume"]) == 0
        assert_same_run(finished, tmp_path / "again")

    def test_another_seed_gives_another_run_and_overwrite_starts_anew(self, finished, tmp_path):
        arguments = [*TINY, "--run-dir", str(tmp_path / "run")]
        assert train.main([*arguments, "--epochs", "1", "--seed", "5"]) == 0
        first, other = ((path / "metrics.csv").read_text().splitlines()[1] for path in (finished, tmp_path / "run"))
        assert first != other
        assert train.main([*arguments, "--epochs", "3", "--overwrite"]) == 0
        assert_same_run(finished, tmp_path / "run")

    def test_a_finished_run_is_not_trained_again(self, finished, capsys):
        before = (finished / "model.keras").stat().st_mtime_ns
        assert train.main([*TINY, "--epochs", "3", "--run-dir", str(finished), "--resume"]) == 0
        assert (finished / "model.keras").stat().st_mtime_ns == before
        assert "test error" in capsys.readouterr().out

    def test_everything_that_decides_a_run_is_in_its_file_and_tells(self, finished, tmp_path):
        decisions = ["--factor", "2", "--clip-bits", "8", "--no-clip-outputs", "--gamma", "2", "--random-width", "8"]
        arguments = [*TINY, "--epochs", "1", "--run-dir", str(tmp_path / "run")]
        assert train.main([*arguments, *decisions]) == 0
        config = json.loads((tmp_path / "run" / "config.json").read_text())
        data = config.pop("data")
        assert (data["classes"], data["input_shape"]) == ([str(digit) for digit in range(10)], [28, 28, 1])
        assert (data["train_size"], data["test_size"], len(data["digest"])) == (320, 360, 32)
        expected = {"format": 2, "dataset": "digits", "augmentation": None, "loss": "sum_squared_error", "factor": 2.0,
                    "clip_bits": 8, "clip_outputs": False, "gamma": 2.0, "random_width": 8, "batch_size": 32,
                    "schedule": "8@0", "bits": "2-8-8-8", "beta": None}  # fmt: skip
        assert {name: config[name] for name in expected} == expected
        kernels = [value for value in saved_weights(tmp_path / "run").values() if value.ndim == 2]
        assert max(np.abs(kernel).max() for kernel in kernels) > 0.5
        assert (tmp_path / "run" / "metrics.csv").read_text() not in (finished / "metrics.csv").read_text()
        assert train.main([*arguments, "--epochs", "2", "--resume", "--gamma", "4"]) == 2

    @pytest.mark.parametrize("bits", ["1-8-8-8", "2-8-f-f", "f-f-f-f", "2,8,12,4"])
    def test_patterns_run(self, bits, tmp_path):
        assert train.main([*TINY, "--epochs", "1", "--bits", bits, "--run-dir", str(tmp_path / "run")]) == 0
        assert json.loads((tmp_path / "run" / "results.json").read_text())["bits"] == bits.replace(",", "-")


class TestResume:
    def test_stopped_by_ctrl_c_then_killed_then_resumed_it_ends_as_if_never_stopped(self, finished, tmp_path):
        arguments = [*TINY, "--epochs", "3", "--run-dir", "run", "--checkpoint-steps", "1"]
        folder = tmp_path / "run" / "checkpoints"
        process = start_process(*arguments, cwd=tmp_path)
        wait_for(lambda: folder.is_dir() and checkpoints.paths(folder), process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=600)
        assert process.returncode == 130, (out, err)
        assert "Traceback" not in err
        assert "--run-dir run --checkpoint-steps 1 --resume" in out
        kept = checkpoints.paths(folder)
        for path in kept:
            checkpoints.load(path)
        process = start_process(*arguments, "--resume", cwd=tmp_path)
        wait_for(lambda: checkpoints.paths(folder) != kept, process)
        process.kill()
        process.communicate()
        assert not (tmp_path / "run" / "results.json").exists()
        assert train.main([*arguments[:-3], str(tmp_path / "run"), "--resume"]) == 0
        assert_same_run(finished, tmp_path / "run")

    def test_stopped_in_validation_loses_no_training(self, finished, tmp_path, monkeypatch):
        arguments = [*TINY, "--epochs", "3", "--run-dir", str(tmp_path / "run")]
        stop_as_usual = StopOnSignal.on_test_batch_end

        def signal_then_stop(self, batch, logs=None):
            os.kill(os.getpid(), signal.SIGTERM)
            stop_as_usual(self, batch, logs)

        monkeypatch.setattr(StopOnSignal, "on_test_batch_end", signal_then_stop)
        assert train.main(arguments) == 143
        assert [path.name for path in checkpoints.paths(tmp_path / "run" / "checkpoints")] == ["step-000000010.ckpt"]
        monkeypatch.undo()
        assert train.main([*arguments, "--resume"]) == 0
        assert_same_run(finished, tmp_path / "run")

    def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(self, finished, tmp_path, capsys):
        """Damage of every kind is in test_files.py."""
        run = shutil.copytree(finished, tmp_path / "run")
        newest = checkpoints.paths(run / "checkpoints")[-1]
        newest.write_bytes(newest.read_bytes()[:-1])
        (run / "model.keras").unlink()
        assert train.main([*TINY, "--epochs", "3", "--run-dir", str(run), "--resume"]) == 0
        assert f"checkpoint {newest} is damaged" in capsys.readouterr().err
        assert_same_run(finished, run)

    @pytest.mark.parametrize(
        "lost", [["model.keras", "results.json"], ["model.keras"], ["results.json", "metrics.csv"]]
    )
    def test_files_lost_at_the_very_end_are_written_from_the_last_checkpoint(self, lost, finished, tmp_path):
        run = shutil.copytree(finished, tmp_path / "run")
        for name in lost:
            (run / name).unlink()
        assert train.main([*TINY, "--epochs", "3", "--run-dir", str(run), "--resume"]) == 0
        assert_same_run(finished, run)

    def test_without_test_images_it_trains_and_goes_on_after_the_last_step_of_an_epoch(
        self, tmp_path, monkeypatch, capsys
    ):
        folder = image_folder(tmp_path / "images", count=8)
        arguments = ["--dataset", str(folder), "--model", "mlp", "--width", "0.02", "--histogram-freq", "0"]
        arguments += ["--epochs", "2", "--run-dir"]
        assert train.main([*arguments, str(tmp_path / "whole")]) == 0
        assert "training error" in capsys.readouterr().out.splitlines()[-1]
        assert json.loads((tmp_path / "whole" / "results.json").read_text())["test_error"] is None
        stop_as_usual = StopOnSignal.on_train_batch_end

        def signal_then_stop(self, batch, logs=None):
            os.kill(os.getpid(), signal.SIGTERM)
            stop_as_usual(self, batch, logs)

        monkeypatch.setattr(StopOnSignal, "on_train_batch_end", signal_then_stop)
        assert train.main([*arguments, str(tmp_path / "run")]) == 143
        monkeypatch.undo()
        assert train.main([*arguments, str(tmp_path / "run"), "--resume"]) == 0
        assert_same_run(tmp_path / "whole", tmp_path / "run")

    def test_ctrl_c_before_the_training_is_one_line(self, tmp_path, monkeypatch, capsys):
        def interrupt(*_):
            os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(command, "configuration_of", interrupt)
        assert train.main([*TINY, "--run-dir", str(tmp_path / "run"), "--overwrite"]) == 130
        said = capsys.readouterr()
        assert said.err == ""
        assert "stopped by SIGINT; go on with: python train.py" in said.out
        assert said.out.strip().endswith("--resume")
        assert "--overwrite" not in said.out

    def test_the_integer_engine_ends_in_the_same_run_and_resume_crosses_over(self, finished, tmp_path):
        arguments = [*TINY, "--run-dir", str(tmp_path / "run")]
        assert train.main([*arguments, "--epochs", "1", "--engine", "integer"]) == 0
        assert train.main([*arguments, "--epochs", "2", "--engine", "keras", "--resume"]) == 0
        assert train.main([*arguments, "--epochs", "3", "--engine", "integer", "--resume"]) == 0
        assert_same_run(finished, tmp_path / "run")
        config = json.loads((tmp_path / "run" / "config.json").read_text())
        assert (config["engine"], config["epochs"]) == ("integer", 3)


class TestGuards:
    def test_a_diverging_run_names_the_layer(self, tmp_path, capsys):
        arguments = [*TINY, "--bits", "f,f,f,f", "--learning-rate", "1e6", "--run-dir", str(tmp_path / "run")]
        assert train.main(arguments) == 1
        error = capsys.readouterr().err
        assert "the training diverged" in error
        assert "layer fc" in error

    def test_errors_that_are_infinite_in_a_histogram_are_no_crash(self, tmp_path, capsys):
        """Loss and weights are finite after the only step, the test loss is not."""
        arguments = [*TINY[:4], "--limit", "100", "--batch-size", "100", "--epochs", "1", "--bits", "f,f,f,f"]
        assert train.main([*arguments, "--learning-rate", "1e6", "--run-dir", str(tmp_path / "run")]) == 1
        assert "the training diverged: after epoch 1 the test loss is inf" in capsys.readouterr().err

    def test_patterns_known_to_be_unstable_are_announced(self, tmp_path, capsys):
        arguments = [*TINY, "--epochs", "1", "--bits", "8,8,8,8", "--run-dir"]
        train.main([*arguments, str(tmp_path / "paper"), "--beta", "1.5"])
        assert "known to diverge" in capsys.readouterr().err
        assert train.main([*arguments, str(tmp_path / "scaled")]) == 0
        assert json.loads((tmp_path / "scaled" / "results.json").read_text())["bits"] == "8-8-8-8"
        assert "known to diverge" not in capsys.readouterr().err

    @pytest.mark.parametrize("schedule", ["3@0", "3@0,1@1", "8@0,3@1"])
    def test_eta_that_is_no_power_of_two_is_announced_once(self, schedule, tmp_path, capsys):
        arguments = [*TINY, "--epochs", "1", "--schedule", schedule, "--run-dir", str(tmp_path / "run")]
        assert train.main(arguments) == 0
        assert capsys.readouterr().err.count("learning_rate: Q_G wants a power of two") == 1


def test_the_help_teaches():
    text = training_arguments.parser().format_help()
    assert all(word in text for word in ("examples:", "exit codes:", *models.names))
