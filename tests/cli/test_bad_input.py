"""What `train.py` is given that it cannot use: one line, exit code 2, and nothing written or lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest import mock

import pytest
import tensorflow as tf
from PIL import Image

import models
import train
from support.images import image_folder
from support.runs import TINY
from wage_tf import files
from wage_tf.cli import training as command
from wage_tf.datasets import sources

pytestmark = pytest.mark.slow


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
def test_one_line_and_exit_code_2(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


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
def test_wrong_values(flag, value, capsys):
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
def test_what_is_wrong_with_a_value(flag, value, message, capsys):
    with pytest.raises(SystemExit) as stop:
        train.main([flag, value])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert f"argument {flag}: " in error
    assert message in error
    assert error.count("\n") == 1


def test_a_run_is_never_overwritten_unasked(finished, capsys):
    before = (finished / "results.json").read_bytes()
    assert train.main([*TINY, "--epochs", "1", "--run-dir", str(finished)]) == 2
    assert "already holds a run: go on with --resume, replace it with --overwrite" in capsys.readouterr().err
    assert (finished / "results.json").read_bytes() == before


def test_resume_with_other_settings(finished, capsys):
    assert train.main([*TINY, "--epochs", "3", "--seed", "9", "--run-dir", str(finished), "--resume"]) == 2
    assert "was started with seed 0, now it is 9" in capsys.readouterr().err


def test_somebody_elses_directory(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("precious")
    assert train.main([*TINY, "--run-dir", str(tmp_path)]) == 2
    assert "is not empty and holds no run" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", ["checkpoints", "tensorboard", "metrics.csv"])
def test_overwrite_removes_nothing_where_a_link_leads_out_of_the_run(name, finished, tmp_path, capsys):
    folder, elsewhere = shutil.copytree(finished, tmp_path / "run"), tmp_path / "elsewhere"
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert train.main([*TINY, "--epochs", "1", "--run-dir", str(folder), "--overwrite"]) == 2
    assert f"--overwrite: {folder / name} is not a file of the run" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("config", ['{"my": "project"}', None])
def test_overwrite_removes_nothing_where_there_is_more_than_a_run(config, finished, tmp_path, capsys):
    folder = shutil.copytree(finished, tmp_path / "run")
    if config is None:
        (folder / "thesis.tex").write_text("precious")
    else:
        (folder / "config.json").write_text(config)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert train.main([*TINY, "--epochs", "1", "--run-dir", str(folder), "--overwrite"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_resume_and_overwrite_exclude_each_other(finished, capsys):
    with pytest.raises(SystemExit) as stop:
        train.main([*TINY, "--run-dir", str(finished), "--resume", "--overwrite"])
    assert stop.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{}", "[]", "{"])
def test_damaged_results_are_named(content, finished, tmp_path, capsys):
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
def test_what_tensorflow_may_raise_in_training_is_one_line(error, line, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise error(None, None, "more than one line\nof TensorFlow's")

    monkeypatch.setattr(command, "fit", fail)
    assert train.main([*TINY, "--run-dir", str(tmp_path / "run")]) == 2
    (shown,) = capsys.readouterr().err.strip().splitlines()
    assert line in shown


def test_a_file_where_the_run_directory_should_be(tmp_path, capsys):
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
def test_image_folders(make, message, tmp_path, capsys):
    make(tmp_path / "images")
    arguments = ["--dataset", str(tmp_path / "images"), "--run-dir", str(tmp_path / "run")]
    assert train.main([*arguments, "--model", "mlp"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_missing_data_without_a_network(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sources, "urlopen", mock.Mock(side_effect=OSError("no route to host")))
    arguments = ["--dataset", "svhn_cropped", "--data-dir", str(tmp_path / "data")]
    assert train.main([*arguments, "--run-dir", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(tmp_path, capsys, monkeypatch):
    def write_to_full_disk(path, content):
        with open("/dev/full", "wb", buffering=0) as disk:
            disk.write(content)

    monkeypatch.setattr(files, "write_bytes", write_to_full_disk)
    assert train.main([*TINY, "--run-dir", str(tmp_path / "run")]) == 2
    assert "No space left on device" in capsys.readouterr().err
