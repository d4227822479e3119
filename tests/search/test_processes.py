"""Chief and workers as separate processes on loopback: deaths, signals, and that none is left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import signal
import socket
import sys
import threading
import time
from types import SimpleNamespace

import grpc
import pytest
from keras_tuner.src import protos

from support.searches import TINY, ongoing_trials, processes_of, read_csv, start, wait_until, worker_in_trial
from wage_tf.cli import tune
from wage_tf.errors import UserError
from wage_tf.search.processes import ChiefLost, Workers, WorkersFailed, serve
from wage_tf.search.tuner import WageTuner

pytestmark = pytest.mark.slow

# A worker of this machine may miss its parent process or the answer of the chief first.
CHIEF_IS_LOST = re.compile("error: the chief .*(is gone|was lost)")


@pytest.fixture
def run_dir(tmp_path):
    """A run directory; whatever processes a failed test leaves there are killed."""
    path = tmp_path / "run"
    yield path
    for pid in processes_of(path):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def port():
    """A free port from below those that the system gives away, so that no other test gets it in the meantime."""
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return str(port)


def records(run_dir):
    return {path.parent.name: path.read_bytes() for path in run_dir.glob("oracle/*/record.json")}


def ended(chief, run_dir, signum):
    """Sends a signal to a chief and returns what it wrote; no process of the search is left."""
    chief.send_signal(signum)
    output, _ = chief.communicate()
    wait_until(lambda: not processes_of(run_dir))
    assert chief.returncode == (128 + signum if signum != signal.SIGKILL else -signum), output
    return output


def stop_this_process(run_dir, signum):
    """Sends a signal to this process as soon as a worker has been started; for a thread."""
    wait_until(lambda: processes_of(run_dir))
    os.kill(os.getpid(), signum)


def test_a_search_outlives_a_killed_worker_and_three_ways_to_stop_it(run_dir, capsys):
    """There are many more patterns than are trained here, so that a stop never comes after the end."""
    widths = ",".join(map(str, range(2, 17)))
    arguments = ["--weights", widths, "--activations", widths, "--epochs", "2", "--run-dir", str(run_dir)]
    chief = start(*arguments, "--workers", "2")
    trial, worker = wait_until(lambda: worker_in_trial(run_dir))
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: f"trial_{trial}" in records(run_dir))
    assert "--resume" in ended(chief, run_dir, signal.SIGINT)
    found = records(run_dir)

    stop = threading.Thread(target=stop_this_process, args=(run_dir, signal.SIGTERM))
    stop.start()
    assert tune.main([*TINY, *arguments, "--workers", "1", "--resume"]) == 128 + signal.SIGTERM
    stop.join()
    assert "--resume" in capsys.readouterr().out
    assert not processes_of(run_dir)
    assert records(run_dir) == found

    chief = start(*arguments, "--workers", "1", "--resume")
    wait_until(lambda: len(records(run_dir)) > len(found))
    ended(chief, run_dir, signal.SIGKILL)
    last_words = (run_dir / "workers" / "worker0.log").read_text().strip().splitlines()[-1]
    assert CHIEF_IS_LOST.search(last_words)
    found = records(run_dir)

    begun = len(list(run_dir.glob("oracle/trial_*")))
    assert tune.main([*TINY, *arguments, "--resume", "--max-trials", str(begun)]) == 0
    rows = read_csv(run_dir / "trials.csv")
    assert len({row["pattern"] for row in rows}) == len(rows) == begun
    assert found.items() <= records(run_dir).items()


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


class _Asking:
    """Workers of which one asks once for a trial."""

    def start(self, address, port):
        self._channel = grpc.insecure_channel(f"{address}:{port}")
        request = protos.get_service().CreateTrialRequest(tuner_id="worker0")
        self._answer = protos.get_service_grpc().OracleStub(self._channel).CreateTrial.future(request)

    def supervise(self, oracle):
        pass

    def stop(self):
        self._channel.close()


def test_a_chief_that_cannot_write_ends_the_search():
    def full(tuner_id):
        raise OSError(errno.ENOSPC, "No space left on device")

    oracle = SimpleNamespace(create_trial=full, ongoing_trials={}, tuner_ids={"worker0"})
    with pytest.raises(OSError, match="No space left"):
        serve(oracle, "127.0.0.1", 0, _Asking(), lambda: None)


def test_chief_and_workers_by_environment_and_a_chief_that_is_lost(run_dir, port):
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    arguments = ["--weights", "2,8", "--activations", "4,8", "--epochs", "1", "--run-dir", str(run_dir)]
    chief = start(*arguments, KERASTUNER_TUNER_ID="chief", **address)
    worker = start(*arguments, impatient=True, KERASTUNER_TUNER_ID="worker0", **address)
    wait_until(lambda: records(run_dir))
    chief.kill()
    killed = time.monotonic()
    output, _ = worker.communicate()
    assert time.monotonic() - killed < 60
    assert worker.returncode == 1
    assert CHIEF_IS_LOST.search(output.strip().splitlines()[-1])
    assert "Traceback" not in output
    chief.communicate()
    found = records(run_dir)

    names = ("chief", "workerA", "workerB")
    processes = {name: start(*arguments, "--resume", KERASTUNER_TUNER_ID=name, **address) for name in names}
    first = wait_until(lambda: set(ongoing_trials(run_dir)) & set(names)).pop()
    second = "workerB" if first == "workerA" else "workerA"
    processes[first].send_signal(signal.SIGSTOP)  # the chief waits for it, so the other has all the time to join
    wait_until(lambda: second in ongoing_trials(run_dir) or processes[second].poll() is not None)
    processes[first].send_signal(signal.SIGCONT)
    outputs = [process.communicate()[0] for process in processes.values()]
    assert [process.returncode for process in processes.values()] == [0, 0, 0], outputs
    assert len(read_csv(run_dir / "trials.csv")) == 4
    assert found.items() <= records(run_dir).items()


def test_a_chief_lost_at_the_end_of_a_trial_is_no_failure_of_the_trial():
    class Unavailable(grpc.RpcError):
        def code(self):
            return grpc.StatusCode.UNAVAILABLE

    def lost(trial_id):
        raise Unavailable

    worker = object.__new__(WageTuner)
    worker.run_trial = lambda trial: {"score": 1.0}
    worker.oracle = SimpleNamespace(get_trial=lost)
    with pytest.raises(ChiefLost, match="when trial 3 ended: UNAVAILABLE"):
        worker._try_run_and_update_trial(SimpleNamespace(trial_id="3"))


def test_a_port_in_use_is_one_line(run_dir, monkeypatch, capsys):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(listener.getsockname()[1]))
        assert tune.main([*TINY, "--weights", "2,8", "--run-dir", str(run_dir)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "in use" in line
