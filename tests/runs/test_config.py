"""What a run was trained with is in its config.json: nothing is looked up again, and other data is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from support.runs import assert_same_run
from support.searches import TINY, read_csv
from wage_tf import datasets
from wage_tf.cli import train, tune, verify
from wage_tf.cli.training import configuration_of
from wage_tf.datasets import Augmentation, Dataset, catalog
from wage_tf.datasets.recipe import Recipe
from wage_tf.errors import UserError
from wage_tf.runs.directory import RunDirectory
from wage_tf.search.directory import SearchDirectory

pytestmark = pytest.mark.slow

DIGITS = ["--width", "0.05", "--limit", "64", "--histogram-freq", "0"]
OTHER = Recipe("mlp", 8, 2, ((0, 1.0),), Augmentation(pad=2, flip=True), loss="softmax_cross_entropy")
VERSION_1 = {"dataset": "digits", "data_dir": None, "bits": "2-8-8-8", "beta": None, "model": "mlp", "width": 0.05,
             "batch_size": 32, "epochs": 1, "schedule": "8@0", "seed": 0, "limit": 64, "image_size": None,
             "checkpoint_steps": 0, "histogram_freq": 0}  # fmt: skip


def draw(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16), np.uint8)).save(path)


def image_folder(path):
    """Two classes of six training and two test images."""
    for label, name in enumerate("ab"):
        for index in range(8):
            part = "test" if index > 5 else "train"
            draw(path / part / name / f"{index}.png", 10 * label + index)
    return path


def of_folder(folder, run):
    return ["--dataset", str(folder), "--model", "mlp", "--width", "0.05", "--batch-size", "4", "--histogram-freq", "0",
            "--run-dir", str(run)]  # fmt: skip


def one_line(capsys):
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run of LeNet-5 by the recipe, two epochs long."""
    path = tmp_path_factory.mktemp("digits") / "run"
    assert train.main([*DIGITS, "--epochs", "2", "--run-dir", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def of_images(tmp_path_factory):
    """A folder of images, its copy, and a run on it."""
    root = tmp_path_factory.mktemp("images")
    folder = image_folder(root / "images")
    shutil.copytree(folder, root / "copy")
    assert train.main([*of_folder(folder, root / "run"), "--epochs", "1"]) == 0
    return folder, root / "copy", root / "run"


def test_an_edited_recipe_changes_neither_resume_nor_evaluate(digits, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    assert train.main([*DIGITS, "--epochs", "1", "--run-dir", str(run)]) == 0
    train.main(["--evaluate", str(digits)])
    before = capsys.readouterr().out.splitlines()[-1]
    monkeypatch.setitem(catalog.CATALOG, "digits", catalog.CATALOG["digits"]._replace(recipe=OTHER))
    assert train.main([*DIGITS, "--epochs", "2", "--run-dir", str(run), "--resume"]) == 0
    assert_same_run(digits, run)
    assert (run / "config.json").read_text() == (digits / "config.json").read_text()
    capsys.readouterr()
    assert train.main(["--evaluate", str(digits)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == before
    assert train.main([*DIGITS, "--run-dir", str(run), "--resume"]) == 0
    assert "has all its 2 epochs" in capsys.readouterr().out


class Noise:
    """A source of colour images without a file."""

    def load(self, name, data_dir, limit, image_size):
        numbers = np.random.default_rng(0)
        images, labels = numbers.integers(0, 256, (80, 32, 32, 3)).astype(np.uint8), np.arange(80) % 10
        return Dataset.from_arrays(name, images[:limit], labels[:limit], images, labels)


def test_a_run_of_version_1_resumes_and_evaluates_with_the_augmentation_of_its_data_set(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(catalog.CATALOG, "cifar10", catalog.CATALOG["cifar10"]._replace(source=Noise()))
    arguments = ["--dataset", "cifar10", "--model", "mlp", *DIGITS, "--epochs", "1", "--batch-size", "32",
                 "--schedule", "8@0"]  # fmt: skip
    assert train.main([*arguments, "--run-dir", str(tmp_path / "today")]) == 0
    old = tmp_path / "old"
    old.mkdir()
    for dataset, augmentation in (("digits", None), ("cifar10", Augmentation(pad=4, flip=True))):
        (old / "config.json").write_text(json.dumps({**VERSION_1, "dataset": dataset}))
        config = RunDirectory(old).read_config()
        assert (config.augmentation, config.loss) == (augmentation, "sum_squared_error")
    assert train.main([*arguments, "--run-dir", str(old), "--resume"]) == 0
    assert_same_run(tmp_path / "today", old)
    (old / "config.json").write_text(json.dumps({**VERSION_1, "dataset": "cifar10"}))
    capsys.readouterr()
    assert train.main(["--evaluate", str(old)]) == 0
    trained = json.loads((old / "results.json").read_text())["test_error"]
    assert f"test error {trained:.2f}%" in capsys.readouterr().out


def test_a_run_of_version_1_on_a_folder(of_images, tmp_path, capsys):
    folder, _, run = of_images
    old = shutil.copytree(run, tmp_path / "old")
    shutil.rmtree(old / "checkpoints")
    settings = {**VERSION_1, "dataset": str(folder), "limit": None, "batch_size": 4, "schedule": "8@0"}
    (old / "config.json").write_text(json.dumps({**settings, "image_size": 16}))
    assert train.main(["--evaluate", str(old)]) == 0
    arguments = [*of_folder(folder, old), "--epochs", "1", "--image-size", "16", "--resume"]
    assert train.main(arguments) == 0
    (old / "config.json").write_text(json.dumps(settings))
    capsys.readouterr()
    for command in (["--evaluate", str(old)], arguments):
        assert train.main(command) == 2
        assert "version 0.1 did not keep how its folder of images was trained" in one_line(capsys)


def test_a_run_of_version_1_whose_epochs_are_other_now_is_refused(of_images, tmp_path, capsys):
    folder, copy, run = of_images
    old = shutil.copytree(run, tmp_path / "old")
    settings = {**VERSION_1, "dataset": str(folder), "limit": None, "batch_size": 4, "image_size": 16,
                "schedule": "8@0,1@67,0.125@84"}  # fmt: skip
    (old / "config.json").write_text(json.dumps(settings))
    try:
        for name in "ab":
            for index in range(1, 5):
                (folder / "train" / name / f"{index}.png").unlink()
        arguments = [*of_folder(folder, old), "--epochs", "3", "--image-size", "16", "--resume"]
        assert train.main(arguments) == 2
        assert "the checkpoint is of step 3 after 1 epochs, and an epoch has 1 steps now" in one_line(capsys)
    finally:
        shutil.rmtree(folder)
        shutil.copytree(copy, folder)


def swap_labels(folder):
    for part in ("train", "test"):
        (folder / part / "a").rename(folder / part / "z")


def scale(folder):
    for path in folder.rglob("*.png"):
        Image.open(path).resize((20, 20)).save(path)


@pytest.mark.parametrize(
    ("change", "named"),
    [(lambda folder: (folder / "train" / "a" / "0.png").unlink(), "number of training images 11, not 12"),
     (lambda folder: draw(folder / "train" / "b" / "9.png", 99), "number of training images 13, not 12"),
     (lambda folder: (folder / "test" / "a" / "6.png").unlink(), "test images 3, not 4"),
     (lambda folder: draw(folder / "train" / "a" / "0.png", 99), "other pixels or labels"),
     (swap_labels, "classes b, z (2), not a, b (2)"),
     (scale, "image shape (20, 20, 1), not (16, 16, 1)")],
)  # fmt: skip
def test_other_data_is_refused(change, named, of_images, capsys):
    folder, copy, run = of_images
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    try:
        change(folder)
        for command in (
            lambda: train.main([*of_folder(folder, run), "--epochs", "2", "--resume"]),
            lambda: train.main(["--evaluate", str(run)]),
            lambda: verify.main([str(run)]),
        ):
            assert command() == 2
            assert named in one_line(capsys)
    finally:
        shutil.rmtree(folder)
        shutil.copytree(copy, folder)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_search_goes_on_with_its_own_recipe(tmp_path, monkeypatch):
    arguments = [*TINY, "--epochs", "1", "--run-dir", str(tmp_path / "run")]
    config = tune.configuration_of(tune.parser().parse_args(arguments), datasets.load("digits"))
    SearchDirectory(tmp_path / "run").create(config)
    monkeypatch.setitem(catalog.CATALOG, "digits", catalog.CATALOG["digits"]._replace(recipe=OTHER))
    assert tune.main([*arguments, "--resume"]) == 0
    (row,) = read_csv(tmp_path / "run" / "trials.csv")
    assert row["schedule"] == "8@0"


def test_a_wrong_value_is_the_users_error(digits):
    config = RunDirectory(digits).read_config()
    other = config.model_copy(update={"data": config.data.model_copy(update={"train_size": 1})})
    dataset = configuration_of(train.parser().parse_args(DIGITS))[1]
    with pytest.raises(UserError, match="is not the data that the run was trained on: number of training images"):
        other.check_data(dataset)
