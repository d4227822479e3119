"""A training packed here, run by JAX in a process where TensorFlow cannot be imported, and taken back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import train
from experiments import pjrt, pjrt_run
from support.runs import assert_same_run, wait_for
from wage_tf.datasets import Augmentation, Dataset
from wage_tf.runs import checkpoints

RUNNER = Path(pjrt_run.__file__)
FORBIDDEN = ("tensorflow", "keras", "wage_tf", "models", "train")
ALONE = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({FORBIDDEN}))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
DIGITS = ["--model", "lenet5", "--width", "0.1", "--limit", "320", "--batch-size", "32", "--epochs", "2"]
DIGITS += ["--schedule", "8@0,2@1", "--seed", "5"]
COLOURED = ["--model", "mlp", "--width", "0.05", "--batch-size", "16", "--epochs", "2", "--seed", "3"]


def command(*args):
    return [sys.executable, "-c", ALONE, str(RUNNER), *map(str, args)]


def run_alone(*args):
    """Runs pjrt_run.py as on the other machine: any import of TensorFlow or of this library fails."""
    return subprocess.run(command(*args), capture_output=True, text=True, timeout=300, check=False)


def start_until_second_state(pack, out):
    process = subprocess.Popen(command(pack, "--out", out, "--checkpoint-seconds", "0"))
    wait_for(lambda: len(list(out.glob("step-*.state"))) > 1, process)
    return process


def packed(tmp_path_factory, *args):
    path = tmp_path_factory.mktemp("packed") / "pack"
    assert pjrt.main(["pack", *args, "--out", str(path)]) == 0
    return path


def trained(tmp_path_factory, *args):
    path = tmp_path_factory.mktemp("trained") / "run"
    assert train.main([*args, "--histogram-freq", "0", "--run-dir", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def digits_pack(tmp_path_factory):
    """LeNet-5 on digits: convolutions, poolings with ties, two learning rates."""
    path = packed(tmp_path_factory, *DIGITS)
    done = run_alone(path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "weights equal TensorFlow's on its CPU after each of the first 20 steps" in done.stdout
    return path


@pytest.fixture(scope="module")
def coloured_images(tmp_path_factory):
    """A folder of 8x8 colour images, which train with padding, crops and flips; the last batch is smaller."""
    root = tmp_path_factory.mktemp("coloured")
    generator = np.random.default_rng(0)
    for part, count in (("train", 41), ("test", 7)):
        for label in ("a", "b", "c"):
            folder = root / part / label
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{i}.png")
    return ["--dataset", str(root)]


@pytest.fixture(scope="module")
def coloured_run(coloured_images, tmp_path_factory):
    return trained(tmp_path_factory, *coloured_images, *COLOURED)


@pytest.fixture(scope="module")
def coloured_pack(coloured_images, tmp_path_factory):
    return packed(tmp_path_factory, *coloured_images, *COLOURED, "--check-steps", "3")


@pytest.mark.slow
class TestTheWholeWay:
    def test_digits_there_are_the_run_here(self, digits_pack, tmp_path, tmp_path_factory, capsys):
        assert pjrt.main(["load", str(digits_pack), "--run-dir", str(tmp_path / "back")]) == 0
        here = trained(tmp_path_factory, *DIGITS)
        assert_same_run(tmp_path / "back", here)
        error = json.loads((here / "results.json").read_text())["test_error"]
        assert train.main(["--evaluate", str(tmp_path / "back")]) == 0
        assert f"test error {error:.2f}% on 360 images" in capsys.readouterr().out

    def test_killed_and_damaged_then_started_again(self, coloured_pack, coloured_run, tmp_path):
        """Order and augmentation too are train.py's; SIGKILL, then the newest state damaged."""
        out = tmp_path / "out"
        process = start_until_second_state(coloured_pack, out)
        process.kill()
        process.wait()
        newest = max(out.glob("step-*.state"))
        assert 1 < int(newest.stem.removeprefix("step-")) < 16
        newest.write_bytes(newest.read_bytes()[:-1])
        done = run_alone(coloured_pack, "--out", out)
        assert done.returncode == 0, done.stderr
        assert f"{newest} is damaged; going back" in done.stderr
        assert "from step 0" not in done.stdout
        assert pjrt.main(["load", str(coloured_pack), "--out", str(out), "--run-dir", str(tmp_path / "back")]) == 0
        assert_same_run(tmp_path / "back", coloured_run)
        sessions = json.loads((tmp_path / "back.provenance.json").read_text())
        assert [session["hardware"]["device"] for session in sessions] == ["cpu", "cpu"]

    def test_stopped_there_train_py_goes_on_here(self, coloured_pack, coloured_images, coloured_run, tmp_path):
        out, run = tmp_path / "out", tmp_path / "back"
        process = start_until_second_state(coloured_pack, out)
        process.terminate()
        assert process.wait(timeout=240) == 143
        assert pjrt.main(["load", str(coloured_pack), "--out", str(out), "--run-dir", str(run)]) == 0
        assert not (run / "model.keras").exists()
        step = checkpoints.load(checkpoints.paths(run / "checkpoints")[-1]).step
        assert step == int(max(out.glob("step-*.state")).stem.removeprefix("step-")) < 16
        arguments = [*coloured_images, *COLOURED, "--histogram-freq", "0"]
        assert train.main([*arguments, "--run-dir", str(run), "--resume"]) == 0
        assert_same_run(run, coloured_run)

    def test_other_weights_than_tensorflows_are_named(self, coloured_pack, coloured_images, tmp_path):
        """On a pack of another k_G, which takes the images of the first."""
        arguments = [*coloured_images, *COLOURED, "--bits", "2-8-7-8", "--check-steps", "3"]
        path = tmp_path / "pack"
        assert pjrt.main(["pack", *arguments, "--data", str(coloured_pack), "--out", str(path)]) == 0
        assert not (path / "data.npz").exists()
        manifest = json.loads((path / "pack.json").read_text())
        manifest["check"][1]["fc2/kernel"] = "0"
        (path / "pack.json").write_text(json.dumps(manifest))
        done = run_alone(path, "--data", coloured_pack, "--epochs", "1")
        assert done.returncode == 0, done.stderr
        assert "weights differ from TensorFlow's on its CPU from step 2 on, first in fc2/kernel" in done.stdout


def test_weights_that_were_not_compared_are_not_called_equal():
    pack, state = SimpleNamespace(manifest={"check": []}), pjrt_run.State(5, 1.0, [], {})
    assert pjrt_run.comparison(pack, state).startswith("weights were not compared")


class TestNumbers:
    seeds = np.array([[0, 0], [7, 3], [-5, 2**40], [2**63 - 1, -1]])

    def test_fold_in_uniform_and_shuffle_are_tensorflows(self):
        for seed in self.seeds:
            folded = tf.random.fold_in(tf.constant(seed), tf.constant(1, tf.int64))
            assert np.array_equal(pjrt_run.fold_in(seed, 1), folded)
            assert np.array_equal(pjrt_run.uniform(seed, (3, 7)), tf.random.stateless_uniform([3, 7], seed))
            order = tf.random.experimental.stateless_shuffle(tf.range(1001), seed)
            assert np.array_equal(pjrt_run.shuffled(1001, seed), order)

    def test_order_and_draws_are_the_pipelines(self):
        images = np.arange(37, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 6, 5, 1), np.uint8)
        images += np.arange(30, dtype=np.uint8).reshape(1, 6, 5, 1)
        augmentation = Augmentation(pad=2, flip=True)
        dataset = Dataset.from_arrays("numbered", images, np.arange(37) % 3)
        stream = iter(dataset.train_batches(10, 9, augmentation, start_step=4))
        order = pjrt_run.epoch_order(9, 1, 37)
        for batch, size in enumerate([10, 10, 10, 7]):
            draws = pjrt_run.augmentation_draws(9, np.array([4 + batch]), size)[0]
            chosen = order[10 * batch : 10 * batch + size]
            expected, labels = next(stream)
            assert np.array_equal(augmentation.drawn(tf.constant(images[chosen]), tf.constant(draws)), expected)
            assert np.array_equal(np.argmax(labels, -1), chosen % 3)

    @pytest.mark.parametrize(("step", "dtype"), [(0.5, np.int8), (2**-7, np.int8), (2**-11, np.int16)])
    def test_codes_keep_every_value_of_a_grid(self, step, dtype):
        values = (np.arange(-7, 8) * np.float32(step)).astype(np.float32)
        values[0] = -0.5
        codes, exponent = pjrt_run.to_codes(values)
        assert codes.dtype == dtype
        assert np.array_equal(pjrt_run.from_codes(codes, exponent), values)

    @pytest.mark.parametrize(
        "values", [np.float32([0.1]), np.float32([np.nan, 1]), np.float32([2**20]), np.int64(2**40)]
    )
    def test_what_is_on_no_grid_is_kept_as_it_is(self, values):
        codes, exponent = pjrt_run.to_codes(np.asarray(values))
        assert exponent is None
        assert np.array_equal(pjrt_run.from_codes(codes, exponent), values, equal_nan=values.dtype == np.float32)


@pytest.mark.slow
class TestMistakes:
    @pytest.fixture
    def copy(self, coloured_pack, tmp_path):
        return Path(shutil.copytree(coloured_pack, tmp_path / "copy", ignore=shutil.ignore_patterns("out")))

    def refused(self, capsys, *args):
        assert pjrt_run.main([str(arg) for arg in args]) == 2
        error = capsys.readouterr().err
        assert error.startswith("pjrt_run.py: error: ")
        assert error.count("\n") == 1
        return error

    @pytest.mark.parametrize("name", ["train.bin", "test_last.bin", "data.npz", "variables.npz"])
    def test_one_wrong_byte(self, name, copy, capsys):
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
        assert f"{copy / name} is damaged" in self.refused(capsys, copy)

    @pytest.mark.parametrize(
        ("name", "message"), [("train.bin", "copy every file"), ("data.npz", "name the pack that holds it with --data")]
    )
    def test_a_missing_file(self, name, message, copy, capsys):
        (copy / name).unlink()
        error = self.refused(capsys, copy)
        assert f"{name} is missing" in error
        assert message in error

    def test_images_of_another_pack(self, copy, digits_pack, capsys):
        assert "is damaged or of another pack" in self.refused(capsys, copy, "--data", digits_pack)

    def test_no_pack(self, tmp_path, capsys):
        assert "holds no pack" in self.refused(capsys, tmp_path)

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 2}'])
    def test_a_damaged_manifest(self, text, copy, capsys):
        (copy / "pack.json").write_text(text)
        assert "pack.json is damaged" in self.refused(capsys, copy)

    def test_another_format(self, copy, capsys):
        manifest = json.loads((copy / "pack.json").read_text())
        (copy / "pack.json").write_text(json.dumps({**manifest, "format": 0}))
        assert "format 0, this program reads 2" in self.refused(capsys, copy)

    @pytest.mark.parametrize("epochs", ["0", "3"])
    def test_epochs_beyond_the_pack(self, epochs, copy, capsys):
        assert f"this pack has 1 to 2; received {epochs}" in self.refused(capsys, copy, "--epochs", epochs)

    def test_states_of_another_pack(self, copy, digits_pack, capsys):
        shutil.copytree(digits_pack / "out", copy / "out")
        assert "belongs to another pack" in self.refused(capsys, copy)

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["load", "{pack}", "--run-dir", "{tmp}/run"], "has no sound state"),
            (["load", "{tmp}", "--run-dir", "{tmp}/run"], "holds no pack"),
            (["pack", "--limit", "64", "--out", "{pack}"], "is not an empty directory"),
            (["pack", "--limit", "64", "--data", "{pack}", "--out", "{tmp}/new"], "holds other images"),
        ],
    )
    def test_wrong_arguments_here(self, args, message, coloured_pack, tmp_path, capsys):
        assert pjrt.main([arg.format(pack=coloured_pack, tmp=tmp_path) for arg in args]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1

    def test_a_wrong_pattern_here(self, tmp_path, capsys):
        with pytest.raises(SystemExit) as stop:
            pjrt.main(["pack", "--bits", "2,8,8", "--out", str(tmp_path / "new")])
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert "2,8,8" in error
        assert error.count("\n") == 1
