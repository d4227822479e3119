"""The examples, run as a user runs them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.images import real_images

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_on_site_learning(tmp_path):
    """On a few images: the new classes are learned on the device, and the code stands in the folder."""
    real_images("mnist", "test")  # skips where they are not prepared
    few = ["--images", "1500", "--shots", "5", "--replay", "3", "--out", tmp_path / "device"]
    command = [sys.executable, "-m", "examples.on_site_learning.learn", *few]
    command += ["--data-dir", os.environ["TFDS_DATA_DIR"]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "30 steps, " in done.stdout
    assert {"flash:", "RAM:", "MACs:"} <= set(done.stdout.split())
    before, after = re.findall(r"new classes ([0-9.]+)%", done.stdout)
    assert float(before) < 10 < float(after)
    assert {"wage_net.c", "wage_train.c", "network.so"} <= {path.name for path in (tmp_path / "device").iterdir()}
