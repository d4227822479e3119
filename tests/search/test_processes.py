"""Chief and workers as separate processes on loopback: deaths, signals, and that none is left behind."""

from __future__ import annotations

import os
import signal
import socket
import sys
from types import SimpleNamespace

import pytest
from search_helper import processes_of, read_csv, start, wait_until, worker_in_trial

from wage_tf.errors import UserError
from wage_tf.search.processes import Workers, WorkersFailed

GRID = ["--weights", "2,8", "--activations", "4,8"]


@pytest.fixture
def run_dir(tmp_path):
    """A run directory; whatever processes a failed test leaves there are killed."""
    path = tmp_path / "run"
    yield path
    for pid in processes_of(path):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def test_a_killed_workers_trial_is_run_again(run_dir):
    chief = start(*GRID, "--epochs", "6", "--workers", "2", "--run-dir", str(run_dir))
    os.kill(wait_until(lambda: worker_in_trial(run_dir, "0001")), signal.SIGKILL)
    output, _ = chief.communicate()
    assert chief.returncode == 0, output
    rows = read_csv(run_dir / "trials.csv")
    assert sorted(row["pattern"] for row in rows) == ["2-4-8-8", "2-8-8-8", "8-4-8-8", "8-8-8-8"]
    assert not processes_of(run_dir)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_search_leaves_no_process_and_goes_on(run_dir, signum):
    arguments = [*GRID, "--epochs", "6", "--workers", "1", "--run-dir", str(run_dir)]
    chief = start(*arguments)
    wait_until(lambda: (run_dir / "oracle" / "trial_0000" / "record.json").exists())
    first = (run_dir / "oracle" / "trial_0000" / "record.json").read_bytes()
    chief.send_signal(signum)
    output, _ = chief.communicate()
    wait_until(lambda: not processes_of(run_dir))
    assert chief.returncode == (143 if signum == signal.SIGTERM else -9)
    if signum == signal.SIGTERM:
        assert "--resume" in output
        return
    resumed = start(*GRID, "--epochs", "6", "--run-dir", str(run_dir), "--resume")
    output, _ = resumed.communicate()
    assert resumed.returncode == 0, output
    assert (run_dir / "oracle" / "trial_0000" / "record.json").read_bytes() == first
    assert len(read_csv(run_dir / "trials.csv")) == 4


class _Oracle:
    """As much of an oracle as the workers' supervision touches."""

    def __init__(self, trial=None):
        self.ongoing_trials = {} if trial is None else {"worker0": trial}
        self.ended = []

    def end_trial(self, trial):
        self.ended.append((trial.trial_id, trial.status))
        self.ongoing_trials = {}


def supervised(program, oracle, folder, until):
    given_up = []
    workers = Workers([sys.executable, "-c", program], 1, folder, lambda *trial: given_up.append(trial))
    workers.start("127.0.0.1", 1)
    try:
        wait_until(lambda: workers.supervise(oracle) or until(given_up))
    finally:
        workers.stop()
    return given_up


def test_a_trial_that_kills_three_workers_is_given_up(tmp_path):
    oracle = _Oracle(SimpleNamespace(trial_id="7", status="RUNNING", message=None))
    ((trial, reason),) = supervised("import os; os.kill(os.getpid(), 9)", oracle, tmp_path, lambda found: found)
    assert trial == "7"
    assert "died 3 times (SIGKILL)" in reason
    assert oracle.ended == [("7", "FAILED")]


def test_workers_that_cannot_start_end_the_search(tmp_path):
    with pytest.raises(WorkersFailed, match="no such thing"):
        supervised("raise SystemExit('tuner.py: error: no such thing')", _Oracle(), tmp_path, lambda found: False)


def test_wrong_input_of_a_worker_is_the_users(tmp_path):
    program = "import sys; print('tuner.py: error: bad data'); sys.exit(2)"
    with pytest.raises(UserError, match=r"^bad data$"):
        supervised(program, _Oracle(), tmp_path, lambda found: False)


def test_chief_and_two_workers_by_environment(run_dir, port):
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    arguments = [*GRID, "--epochs", "1", "--run-dir", str(run_dir)]
    names = ("chief", "worker0", "worker1")
    processes = [start(*arguments, KERASTUNER_TUNER_ID=name, **address) for name in names]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert len(read_csv(run_dir / "trials.csv")) == 4
    assert sum(output.count("score") for output in outputs[1:]) == 4


def test_a_port_in_use_is_one_line(run_dir):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(listener.getsockname()[1])}
        chief = start(*GRID, "--run-dir", str(run_dir), KERASTUNER_TUNER_ID="chief", **address)
        output, _ = chief.communicate()
    assert chief.returncode == 2
    assert "in use" in output.strip().splitlines()[-1]
    assert "Traceback" not in output
