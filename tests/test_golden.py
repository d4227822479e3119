"""A recorded training run: losses and weight codes of twenty steps must come out the same on every version.

`python tests/test_golden.py` records anew, for a change of the arithmetic that is meant.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import models
import oracle
from wage_tf.losses import SumSquaredError
from wage_tf.optimizers import IntegerSGD

GOLDEN = Path(__file__).parent / "golden"
STEPS, BATCH, SEED, LEARNING_RATE = 20, 32, 2018, 8.0
RUNS = {
    "mlp": ((8, 8, 1), 1 / 16, oracle.mlp, {"units": (32, 32)}),
    "lenet5": ((16, 16, 1), 1 / 8, oracle.lenet5, {"channels": (4, 8), "units": 64}),
}


def digest(weights):
    """SHA-256 over the weights' codes on the k_G = 8 grid, little-endian int16."""
    codes = [np.asarray(w, np.float64) * 128 for w in weights]
    assert all(np.all(code == np.rint(code)) for code in codes)
    return hashlib.sha256(b"".join(code.astype("<i2").tobytes() for code in codes)).hexdigest()


def batches(name, digits):
    images, targets = digits
    scale = RUNS[name][0][0] // 8
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    for start in range(0, STEPS * BATCH, BATCH):
        yield images[start : start + BATCH], targets[start : start + BATCH]


def reference_of(name):
    shape, _, build, sizes = RUNS[name]
    return build((2, 8, 8, 8), shape, 10, seed=SEED, **sizes)


def oracle_run(name, digits):
    network = reference_of(name)
    record = {"losses": [], "weights": [digest(network.weights)]}
    for images, targets in batches(name, digits):
        record["losses"].append(float(network.train_step(images, targets, LEARNING_RATE)).hex())
        record["weights"].append(digest(network.weights))
    return record


def keras_run(name, digits):
    shape, width, _, _ = RUNS[name]
    model = models.build(name, "2-8-8-8", shape, 10, width)
    model.set_weights([w.astype(np.float32) for w in reference_of(name).weights])
    model.compile(IntegerSGD(LEARNING_RATE, 8, SEED), SumSquaredError())
    record = {"losses": [], "weights": [digest(model.get_weights())]}
    for images, targets in batches(name, digits):
        record["losses"].append(float(model.train_on_batch(images, targets)).hex())
        record["weights"].append(digest(model.get_weights()))
    return record


@pytest.mark.parametrize("run", [oracle_run, keras_run])
@pytest.mark.parametrize("name", list(RUNS))
def test_golden_run(name, run, digits):
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    actual = run(name, digits)
    assert actual["weights"] == expected["weights"]
    assert actual["losses"] == expected["losses"]
    losses = [float.fromhex(loss) for loss in actual["losses"]]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    assert len(set(actual["weights"])) == STEPS + 1


if __name__ == "__main__":
    from sklearn.datasets import load_digits

    data = load_digits()
    embedded = (data.images * 15).astype(np.uint8)[..., None], np.eye(10, dtype=np.float32)[data.target]
    for run_name in RUNS:
        recorded = oracle_run(run_name, embedded)
        (GOLDEN / f"{run_name}.json").write_text(json.dumps(recorded, indent=1) + "\n")
