"""Short trainings on real images: that the whole of it learns."""

from __future__ import annotations

import json

import pytest

import train

pytestmark = pytest.mark.slow


def error_of(path):
    return json.loads((path / "results.json").read_text())["test_error"]


@pytest.mark.parametrize(
    ("bits", "width", "most_percent"),
    [("2-8-8-8", "0.5", 20), ("8-8-8-8", "0.5", 20), ("1-8-8-8", "1", 50), ("f-f-f-f", "0.5", 20)],
)
def test_mnist(bits, width, most_percent, tfds_data_dir, tmp_path):
    rate = [] if bits == "f-f-f-f" else ["--learning-rate", "8"]
    arguments = ["--dataset", "mnist", "--limit", "12800", "--epochs", "1", "--width", width, "--histogram-freq", "0"]
    assert train.main([*arguments, *rate, "--bits", bits, "--run-dir", str(tmp_path / "run")]) == 0
    assert error_of(tmp_path / "run") < most_percent


def test_cifar10(tfds_data_dir, tmp_path):
    arguments = ["--dataset", "cifar10", "--width", "0.125", "--limit", "6400", "--epochs", "1", "--batch-size", "64"]
    assert train.main([*arguments, "--run-dir", str(tmp_path / "run")]) == 0
    assert error_of(tmp_path / "run") < 80
    assert list((tmp_path / "run" / "tensorboard" / "quantized").iterdir())
