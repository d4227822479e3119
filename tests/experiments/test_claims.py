import os
import signal
import subprocess
import sys

from experiments.claims import claim

HOLD = "import sys; sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.read()"
CLAIM = """
import subprocess, sys
from experiments.claims import claim
with claim(sys.argv[1]) as lock:
    child = subprocess.Popen([sys.executable, "-c", sys.argv[2]], pass_fds=[lock])
    child.wait()
"""


def test_one_owner_at_a_time(tmp_path):
    path = tmp_path / "run.lock"
    with claim(path) as first, claim(path) as second:
        assert first is not None
        assert second is None
        assert path.read_text() == f"{os.getpid()}\n"
    with claim(path) as again:
        assert again is not None


def test_a_killed_owner_loses_its_claim_once_its_training_has_ended_too(tmp_path):
    path = tmp_path / "run.lock"
    owner = subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(path), HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout.readline() == "ready\n"
    with claim(path) as lock:
        assert lock is None
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    with claim(path) as lock:
        assert lock is None, "the training still runs"
    owner.stdin.close()
    assert owner.stdout.read() == ""
    with claim(path) as lock:
        assert lock is not None
        assert path.read_text() == f"{os.getpid()}\n"
