"""The examples of docs/your_network.md, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "your_network.md"


@pytest.mark.slow
def test_the_examples_run_and_learn():
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(examples) == 9
    names = {}
    for number, example in enumerate(examples):
        exec(compile(example, f"{GUIDE.name}, example {number + 1}", "exec"), names)
    assert names["error"] < 40
    assert names["error_with_floats"] < 40
    assert float(names["model"].evaluate(*names["test"], verbose=0, return_dict=True)["error"]) < 40
    assert names["model"].optimizer.float_optimizer.built is False
    assert np.all(np.abs(names["head"].layers[-2].kernel.numpy()) <= 0.5)
