"""A training of seconds; waits for what a process does; compares runs: metrics, results and every saved weight."""

from __future__ import annotations

import io
import json
import time
import zipfile

import h5py
import numpy as np

TINY = ["--model", "mlp", "--width", "0.05", "--limit", "320", "--batch-size", "32", "--histogram-freq", "0"]


def wait_for(condition, *processes, seconds=600):
    """Polls until a condition holds, and returns its value; none of the processes may have ended by then."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        for process in processes:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def saved_weights(run_dir):
    archive = zipfile.ZipFile(run_dir / "model.keras")
    found = {}
    with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(
            lambda name, item: found.__setitem__(name, item[()]) if isinstance(item, h5py.Dataset) else None
        )
    return found


def assert_same_run(one, other):
    assert (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
    weights, others = saved_weights(one), saved_weights(other)
    assert weights.keys() == others.keys()
    assert len(weights) >= 4
    for name, value in weights.items():
        np.testing.assert_array_equal(value, others[name], err_msg=name)
    results, other_results = (json.loads((path / "results.json").read_text()) for path in (one, other))
    assert results.pop("seconds") > 0
    assert other_results.pop("seconds") > 0
    assert results == other_results
