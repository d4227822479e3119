"""Several devices of one machine end with the bits of one: digits on one to three logical CPU devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wage_tf.cli import train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_COLLECTOR = "import gc, runpy, sys; gc.disable(); runpy.run_path(sys.argv[1], run_name='__main__')"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What mirrored_cases.py prints: logical devices have to be made before TensorFlow starts."""
    cases = ROOT / "tests" / "support" / "mirrored_cases.py"
    command = [sys.executable, "-c", WITHOUT_COLLECTOR, str(cases)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        command,
        cwd=tmp_path_factory.mktemp("mirrored"),
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", ["mlp, 1 replicas", "lenet5, 2 replicas", "mlp, 3 replicas"])
def test_replicas_end_with_the_weights_and_history_of_one_device(case, found):
    """Last batches are uneven: 37 images, and with 3 replicas 2, so that one of them gets none."""
    assert found["trainings"][case] == {"steps": 21, "weights": 0, "rows_equal": True}


def test_with_maxima_of_their_own_replicas_would_end_elsewhere(found):
    assert found["trainings"]["own maxima"]["weights"] > 0


def test_float_gradients_keep_the_learning_rate_of_one_device(found):
    distance = found["trainings"]["float gradients"]
    assert distance["moved"] > 0.01
    assert distance["apart"] < 1e-6


def test_a_float_layer_and_its_optimizer_end_as_on_one_device(found):
    found = found["float variables"]
    assert found["steps"] == [6, 6]
    assert len(found["furthest"]) == 3 + 2 + 2 + 2 * 2
    assert found["furthest"][2] == 0.0
    assert max(found["furthest"]) < 1e-6


@pytest.mark.parametrize("values", ["normal", "nan", "inf", "zeros"])
def test_errors_are_scaled_by_the_maximum_of_all_replicas(values, found):
    assert found["errors"][values] == [True, True]


def test_a_batch_that_does_not_divide(found):
    code, error = found["command line"]["batch"]
    assert code == 2
    assert error == (
        "train.py: error: batch size 30 does not divide into 4 replicas: give a multiple of 4, such as 32\n"
    )


def test_logical_devices_after_tensorflow_started(found):
    code, error = found["command line"]["too late"]
    assert code == 2
    assert "before TensorFlow is used" in error
    assert error.count("\n") == 1


def test_logical_devices_need_the_mirrored_strategy(capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(["--logical-devices", "2"])
    assert stop.value.code == 2
    assert "--logical-devices needs --strategy mirrored" in capsys.readouterr().err
