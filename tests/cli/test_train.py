"""train.py as a user runs it: in-process for what it writes, as a process for kills, signals and what it prints."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import models
import train
from support.runs import assert_same_run, saved_weights, wait_for
from wage_tf.cli import training as command
from wage_tf.cli import training_arguments, verify
from wage_tf.datasets import sources
from wage_tf.runs import checkpoints
from wage_tf.runs.guards import StopOnSignal

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--model", "mlp", "--width", "0.05", "--limit", "320", "--batch-size", "32", "--histogram-freq", "0"]


def start_process(*args, cwd):
    command = [sys.executable, str(ROOT / "train.py"), *args]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of three epochs that was never stopped."""
    path = tmp_path_factory.mktemp("finished") / "run"
    assert train.main([*TINY, "--epochs", "3", "--run-dir", str(path)]) == 0
    return path


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

    def test_evaluate_repeats_the_test_error(self, finished, capsys):
        assert train.main(["--evaluate", str(finished)]) == 0
        error = json.loads((finished / "results.json").read_text())["test_error"]
        assert f"test error {error:.2f}% on 360 images of digits" in capsys.readouterr().out

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

    def test_another_place_of_the_data_can_be_evaluated(self, finished, monkeypatch):
        from wage_tf import datasets

        asked, load = [], datasets.load
        monkeypatch.setattr(datasets, "load", lambda name, *rest: asked.append((name, *rest)) or load(name, limit=320))
        assert train.main(["--evaluate", str(finished), "--data-dir", "elsewhere"]) == 0
        assert asked == [("digits", "elsewhere", 320, None)]

    def test_another_data_set_can_be_evaluated(self, finished, tmp_path, capsys):
        folder = image_folder(tmp_path / "images", [str(digit) for digit in range(10)], (28, 28), "L")
        (folder / "test").symlink_to(folder / "train")
        assert train.main(["--evaluate", str(finished), "--dataset", str(folder)]) == 0
        assert f"% on 20 images of {folder}" in capsys.readouterr().out

    def test_images_are_cropped_for_evaluation_as_in_training(self, tmp_path, capsys):
        folder = image_folder(tmp_path / "images", size=(256, 256))
        (folder / "test").symlink_to(folder / "train")
        run = str(tmp_path / "run")
        arguments = ["--dataset", str(folder), "--model", "mlp", "--width", "0.01", "--epochs", "1", "--run-dir", run]
        assert train.main([*arguments, "--histogram-freq", "0"]) == 0
        config = json.loads((tmp_path / "run" / "config.json").read_text())
        assert config["augmentation"]["crop"] == 224
        (tmp_path / "other").symlink_to(folder)
        assert train.main(["--evaluate", run, "--dataset", str(tmp_path / "other")]) == 0
        assert f"on 4 images of {tmp_path / 'other'}" in capsys.readouterr().out

    @pytest.mark.parametrize("name", ["mlp", "autoencoder"])
    def test_a_model_of_other_scores_is_not_evaluated(self, name, tmp_path, capsys):
        models.build(name, "2-8-8-8", (28, 28, 1), 3, 0.05).save(tmp_path / "net.keras")
        assert train.main(["--evaluate", str(tmp_path / "net.keras"), "--dataset", "digits"]) == 2
        assert "has 10 classes, the network gives scores of" in capsys.readouterr().err

    def test_an_autoencoder_is_verified_on_data_that_is_named(self, tmp_path, capsys):
        arguments = ["--model", "autoencoder", "--width", "0.1", "--limit", "64", "--epochs", "1"]
        assert train.main([*arguments, "--histogram-freq", "0", "--run-dir", str(tmp_path / "run")]) == 0
        assert verify.main([str(tmp_path / "run"), "--dataset", "digits", "--steps", "2", "--images", "20"]) == 0
        assert "verdict: EQUAL" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("classes", "size", "message"),
        [
            ("abcdefghij", (28, 28), "classes a, b, c, ..., the network has 0, 1, 2, ..."),
            ("ab", (9, 9), "images of (9, 9, 1)"),
            ("ab", (28, 28), "has 2 classes"),
        ],
    )
    def test_data_of_another_kind_is_not_evaluated(self, finished, classes, size, message, tmp_path, capsys):
        folder = image_folder(tmp_path / "images", classes, size, mode="L")
        assert train.main(["--evaluate", str(finished), "--dataset", str(folder)]) == 2
        assert message in capsys.readouterr().err

    def test_warnings_are_shown_as_before_afterwards(self, finished):
        before = warnings.showwarning
        assert train.main(["--evaluate", str(finished)]) == 0
        assert warnings.showwarning is before

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


def image_folder(path, classes=("a", "b"), size=(8, 8), mode="RGB", count=2):
    for label, name in enumerate(classes):
        (path / "train" / name).mkdir(parents=True)
        for index in range(count):
            Image.new(mode, size, 100 * label + index).save(path / "train" / name / f"{index}.png")
    return path


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--dataset", "mnits"], "mnits"),
            (["--dataset", "no/such/folder"], "no/such/folder"),
            (["--model", "resnet"], f"'resnet' is not one of {', '.join(models.names)}"),
            (["--model", "alexnet"], "alexnet needs images of at least"),
            (["--engine", "integer", "--model", "autoencoder"], "trains on classes, and autoencoder has none"),
            (["--engine", "integer", "--bits", "2,8,f,f"], "float32 (k_E = f)"),
            (["--engine", "integer", "--schedule", "8@0,3@1"], "learning rate 3.0 is not a power of two"),
            (["--evaluate", "nowhere"], "nowhere holds no run"),
        ],
    )
    def test_one_line_and_exit_code_2(self, arguments, message, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert train.main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("more", [["--bits", "8,8,8,8"], ["--epochs", "3"], ["--resume"], ["--from", "m.keras"]])
    def test_what_does_not_go_with_evaluate(self, more, capsys):
        with pytest.raises(SystemExit) as stop:
            train.main(["--evaluate", "runs/some", *more])
        assert stop.value.code == 2
        assert f"{more[0]} does not go with --evaluate" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("flag", "value"),
        [
            ("--epochs", "0"),
            ("--epochs", "-3"),
            ("--batch-size", "0"),
            ("--width", "0"),
            ("--width", "nan"),
            ("--learning-rate", "-1"),
            ("--learning-rate", "inf"),
            ("--limit", "0"),
            ("--seed", "x"),
            ("--seed", "4294967296"),
            ("--batch-size", "100000000000000000000"),
            ("--width", "1e9"),
            ("--beta", "1e300"),
            ("--gamma", "3"),
            ("--gamma", "-2"),
            ("--clip-bits", "0"),
            ("--random-width", "25"),
            ("--checkpoint-steps", "-1"),
            ("--histogram-freq", "1.5"),
            ("--evaluate", ""),
            ("--bits-from", ""),
            ("--nonsense", "1"),
        ],
    )
    def test_wrong_values(self, flag, value, capsys):
        with pytest.raises(SystemExit) as stop:
            train.main([flag, value])
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert flag in error

    @pytest.mark.parametrize(
        ("flag", "value", "message"),
        [
            ("--bits", "2,8,8", "a pattern is four widths W-A-G-E such as '2-8-8-8'"),
            ("--bits", "99,8,8,8", "received W = 99"),
            ("--schedule", "8@1", "epochs rising from 0"),
            ("--schedule", "eight", "received 'eight'"),
            ("--schedule", "8@0,1@99999999999999999999", "epochs rising from 0"),
        ],
    )
    def test_what_is_wrong_with_a_value(self, flag, value, message, capsys):
        with pytest.raises(SystemExit) as stop:
            train.main([flag, value])
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert f"argument {flag}: " in error
        assert message in error
        assert error.count("\n") == 1

    def test_a_run_is_never_overwritten_unasked(self, finished, capsys):
        before = (finished / "results.json").read_bytes()
        assert train.main([*TINY, "--epochs", "1", "--run-dir", str(finished)]) == 2
        assert "already holds a run: go on with --resume, replace it with --overwrite" in capsys.readouterr().err
        assert (finished / "results.json").read_bytes() == before

    def test_resume_with_other_settings(self, finished, capsys):
        assert train.main([*TINY, "--epochs", "3", "--seed", "9", "--run-dir", str(finished), "--resume"]) == 2
        assert "was started with seed 0, now it is 9" in capsys.readouterr().err

    def test_somebody_elses_directory(self, tmp_path, capsys):
        (tmp_path / "thesis.tex").write_text("precious")
        assert train.main([*TINY, "--run-dir", str(tmp_path)]) == 2
        assert "is not empty and holds no run" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    @pytest.mark.parametrize("name", ["checkpoints", "tensorboard", "metrics.csv"])
    def test_overwrite_removes_nothing_where_a_link_leads_out_of_the_run(self, name, finished, tmp_path, capsys):
        folder, elsewhere = shutil.copytree(finished, tmp_path / "run"), tmp_path / "elsewhere"
        (folder / name).rename(elsewhere)
        (folder / name).symlink_to(elsewhere)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert train.main([*TINY, "--epochs", "1", "--run-dir", str(folder), "--overwrite"]) == 2
        assert f"--overwrite: {folder / name} is not a file of the run" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    @pytest.mark.parametrize("config", ['{"my": "project"}', None])
    def test_overwrite_removes_nothing_where_there_is_more_than_a_run(self, config, finished, tmp_path, capsys):
        folder = shutil.copytree(finished, tmp_path / "run")
        if config is None:
            (folder / "thesis.tex").write_text("precious")
        else:
            (folder / "config.json").write_text(config)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert train.main([*TINY, "--epochs", "1", "--run-dir", str(folder), "--overwrite"]) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    def test_resume_and_overwrite_exclude_each_other(self, finished, capsys):
        with pytest.raises(SystemExit) as stop:
            train.main([*TINY, "--run-dir", str(finished), "--resume", "--overwrite"])
        assert stop.value.code == 2
        assert "not allowed with" in capsys.readouterr().err

    @pytest.mark.parametrize("content", ["{}", "[]", "{"])
    def test_damaged_results_are_named(self, content, finished, tmp_path, capsys):
        run = shutil.copytree(finished, tmp_path / "run")
        (run / "results.json").write_text(content)
        assert train.main([*TINY, "--epochs", "3", "--run-dir", str(run), "--resume"]) == 2
        error = capsys.readouterr().err
        assert f"{run / 'results.json'} is damaged" in error
        assert error.count("\n") == 1

    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (tf.errors.ResourceExhaustedError, "the memory is exhausted: try a smaller --batch-size"),
            (tf.errors.DataLossError, "a record file of the data set is damaged: delete the data set"),
        ],
    )
    def test_what_tensorflow_may_raise_in_training_is_one_line(self, error, line, tmp_path, monkeypatch, capsys):
        def fail(*_):
            raise error(None, None, "more than one line\nof TensorFlow's")

        monkeypatch.setattr(command, "fit", fail)
        assert train.main([*TINY, "--run-dir", str(tmp_path / "run")]) == 2
        (shown,) = capsys.readouterr().err.strip().splitlines()
        assert line in shown

    def test_a_file_where_the_run_directory_should_be(self, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        assert train.main([*TINY, "--run-dir", str(tmp_path / "file" / "run")]) == 2
        assert "cannot be written" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda path: image_folder(path, classes=("a",)), "at least two"),
            (lambda path: (image_folder(path) / "train" / "a" / "0.png").write_bytes(b"\x89PNG broken"), "0.png"),
            (lambda path: Image.new("RGB", (9, 8)).save(image_folder(path) / "train" / "a" / "0.png"), "image_size"),
            (lambda path: Image.new("L", (8, 8)).save(image_folder(path) / "train" / "a" / "0.png"), "channel"),
        ],
    )
    def test_image_folders(self, make, message, tmp_path, capsys):
        make(tmp_path / "images")
        arguments = ["--dataset", str(tmp_path / "images"), "--run-dir", str(tmp_path / "run")]
        assert train.main([*arguments, "--model", "mlp"]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (tmp_path / "run").exists()

    def test_missing_data_without_a_network(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(sources, "urlopen", mock.Mock(side_effect=OSError("no route to host")))
        arguments = ["--dataset", "svhn_cropped", "--data-dir", str(tmp_path / "data")]
        assert train.main([*arguments, "--run-dir", str(tmp_path / "run")]) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert not (tmp_path / "run").exists()

    def test_a_damaged_model_is_named(self, finished, tmp_path, capsys):
        run = tmp_path / "run"
        run.mkdir()
        (run / "config.json").write_bytes((finished / "config.json").read_bytes())
        (run / "model.keras").write_bytes((finished / "model.keras").read_bytes()[:1000])
        assert train.main(["--evaluate", str(run)]) == 2
        assert "model.keras is damaged or not a Keras model" in capsys.readouterr().err

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_full_disk(self, tmp_path, capsys, monkeypatch):
        from wage_tf import files

        def write_to_full_disk(path, content):
            with open("/dev/full", "wb", buffering=0) as disk:
                disk.write(content)

        monkeypatch.setattr(files, "write_bytes", write_to_full_disk)
        assert train.main([*TINY, "--run-dir", str(tmp_path / "run")]) == 2
        assert "No space left on device" in capsys.readouterr().err


class TestOwnModel:
    """`--from`: a Keras model of the user's own, converted."""

    @pytest.fixture(scope="class")
    def own_model(self, tmp_path_factory):
        path = tmp_path_factory.mktemp("own") / "net.keras"
        layers = [keras.Input((28, 28, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
        layers += [keras.layers.Dense(12, "relu"), keras.layers.BatchNormalization(), keras.layers.Dense(10, "softmax")]
        keras.Sequential(layers).save(path)
        return path

    @pytest.mark.parametrize("weights", ["keep", "fresh"])
    def test_it_trains_stops_and_goes_on(self, own_model, weights, tmp_path):
        arguments = ["--from", str(own_model), "--weights", weights, *TINY[4:], "--run-dir"]
        assert train.main([*arguments, str(tmp_path / "whole"), "--epochs", "2"]) == 0
        assert train.main([*arguments, str(tmp_path / "run"), "--epochs", "1"]) == 0
        assert train.main([*arguments, str(tmp_path / "run"), "--epochs", "2", "--resume"]) == 0
        assert_same_run(tmp_path / "whole", tmp_path / "run")
        config = json.loads((tmp_path / "run" / "config.json").read_text())
        assert (config["model"], config["loss"]) == ("net", "softmax_cross_entropy")
        assert config["schedule"] == ("1@0" if weights == "keep" else "8@0")
        assert train.main(["--evaluate", str(tmp_path / "run")]) == 0

    def test_images_of_one_channel_may_have_none_in_the_model(self, tmp_path):
        """TensorFlow's beginner's model."""
        layers = [keras.Input((28, 28)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
        layers += [keras.layers.Dense(12, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(10)]
        model = keras.Sequential(layers)
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.save(tmp_path / "net.keras")
        run = str(tmp_path / "run")
        assert train.main(["--from", str(tmp_path / "net.keras"), *TINY[4:], "--run-dir", run, "--epochs", "1"]) == 0
        config = json.loads((tmp_path / "run" / "config.json").read_text())
        assert config["loss"] == "softmax_cross_entropy"
        assert train.main(["--evaluate", run]) == 0

    def test_another_model_in_its_place_is_refused(self, own_model, tmp_path, capsys):
        model = tmp_path / "net.keras"
        shutil.copy(own_model, model)
        arguments = ["--from", str(model), *TINY[4:], "--run-dir", str(tmp_path / "run")]
        assert train.main([*arguments, "--epochs", "1"]) == 0
        keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]).save(model)
        assert train.main([*arguments, "--epochs", "2", "--resume"]) == 2
        assert "was started with source" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("layer", "message"),
        [(keras.layers.Dense(7), "give a model of as many outputs"), (keras.layers.LSTM(10), "net")],
    )
    def test_what_does_not_convert_is_one_line(self, layer, message, tmp_path, capsys):
        model = tmp_path / "net.keras"
        first = keras.layers.Reshape((28, 28)) if isinstance(layer, keras.layers.LSTM) else keras.layers.Flatten()
        keras.Sequential([keras.Input((28, 28, 1)), first, layer], name="net").save(model)
        assert train.main(["--from", str(model), "--run-dir", str(tmp_path / "run")]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("arguments", [["--from", "x.keras", "--width", "2"], ["--weights", "keep"]])
    def test_what_does_not_go_together(self, arguments, capsys):
        with pytest.raises(SystemExit) as stop:
            train.main(arguments)
        assert stop.value.code == 2
        assert "--from" in capsys.readouterr().err


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
