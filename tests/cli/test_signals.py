"""SIGINT and SIGTERM at any moment from the first line on: 130 or 143, one line, never a traceback."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = ["--model", "mlp", "--width", "0.05", "--limit", "320", "--epochs", "100", "--histogram-freq", "0"]
READY_SECONDS = 60


def started(script, folder, *arguments):
    """The process, once its interpreter runs the script: before that, nobody can hear a signal."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / script), *ARGUMENTS, *arguments, "--run-dir", str(folder / "run")],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    handled = 1 << (signal.SIGTERM - 1)
    deadline = time.monotonic() + READY_SECONDS
    while not handled & int(_status(process.pid, "SigCgt"), 16):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


def _status(pid, name):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux' /proc")
@pytest.mark.parametrize(
    ("script", "signals"),
    [("train.py", [signal.SIGINT, signal.SIGTERM] * 2), ("tuner.py", [signal.SIGTERM, signal.SIGINT] * 2)],
)
def test_a_signal_at_any_moment_is_heard(script, signals, tmp_path):
    moments = random.Random(script)
    for signum, longest in zip(signals, (0.05, 1.0, 4.0, 8.0), strict=True):
        folder = tmp_path / str(longest)
        folder.mkdir()
        process = started(script, folder)
        moment = moments.uniform(0, longest)
        time.sleep(moment)
        process.send_signal(signum)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 128 + signum, (moment, out, err)
        before_its_start = (out, err) == ("", "")
        assert before_its_start or f"stopped by {signal.Signals(signum).name}; go on with: python {script}" in out
        assert "Traceback" not in out + err
