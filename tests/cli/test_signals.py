"""SIGINT and SIGTERM at any moment from the first line on: 130 or 143, one line, never a traceback."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.runs import wait_for

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--model", "mlp", "--width", "0.05", "--limit", "320", "--epochs", "100000", "--histogram-freq", "0"]
MANY = ",".join(map(str, range(2, 17)))
ENDLESS = {"train.py": TINY, "tuner.py": [*TINY, "--weights", MANY, "--activations", MANY]}
COMMAND = """
import io, os, signal, sys
from wage_tf.cli import exits

class Swallowing:
    def __del__(self):
        signal.raise_signal(signal.{name})

class Interrupted(io.FileIO):
    def write(self, content):
        signal.raise_signal(signal.{name})

def command(signals):
    {moment}
    print("swallowed")
    return 0

sys.exit(exits.run("wage-train", command, ["again"]))
"""
MOMENTS = {
    "anywhere": "signal.raise_signal(signal.{name})",
    "where all exceptions are caught": "try: signal.raise_signal(signal.{name})\n    except BaseException: pass",
    "in a destructor": "Swallowing()",
    "in a print": "sys.stdout = io.TextIOWrapper(io.BufferedWriter(Interrupted(1, 'wb'))); print('', flush=True)",
    "twice where it waits": "with signals.deferred(): [signal.raise_signal(signal.{name}) for _ in range(2)]",
}


def started(script, folder):
    """The process, once its interpreter runs the script: before that, nobody can hear a signal."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / script), *ENDLESS[script], "--run-dir", str(folder / "run")],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    handled = 1 << (signal.SIGTERM - 1)
    wait_for(lambda: handled & int(_status(process.pid, "SigCgt"), 16), process)
    return process


def _status(pid, name):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_nothing_that_runs_can_swallow_a_signal(moment, name, tmp_path):
    script = tmp_path / "wage-train.py"
    script.write_text(COMMAND.format(name=name, moment=MOMENTS[moment].format(name=name)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    expected = (128 + signal.Signals[name], f"stopped by {name}; go on with: again", "")
    assert (done.returncode, done.stdout.strip(), done.stderr) == expected


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
        out, err = process.communicate(timeout=600)
        assert process.returncode == 128 + signum, (moment, out, err)
        before_its_start = (out, err) == ("", "")
        assert before_its_start or f"stopped by {signal.Signals(signum).name}; go on with: python {script}" in out
        assert "Traceback" not in out + err
