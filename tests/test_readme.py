"""The README's Python example runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_example_trains():
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (6, 32, 32, 3), np.uint8)
    given = {"images": images, "one_hot_labels": np.eye(10, dtype=np.float32)[:6]}
    exec(example, given)
    model = given["model"]
    assert model.history.history.keys() == {"error", "loss"}
    assert int(model.optimizer.iterations) == 10
