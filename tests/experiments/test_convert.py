import numpy as np
import pytest

from experiments import convert
from wage_tf.datasets import Dataset


@pytest.mark.slow
def test_the_float_network_then_every_start_at_every_width():
    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1)).astype(np.uint8)
    labels = np.arange(32) % 4
    dataset = Dataset.from_arrays("own", images, labels, images, labels)
    *_, figures = convert.measure(dataset, 1, 1, 16, seed=0, starts=("kept", "fresh-left-in"), bits=("2-8-8-8",))
    assert [row["start"] for row in figures["converted"]] == ["kept", "fresh-left-in"]
    for row in (figures["float"], *figures["converted"]):
        assert len(row["errors"]) == 2
