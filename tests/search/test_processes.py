"""Chief and workers as separate processes on loopback: deaths, signals, and that none is left behind."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from support.runs import wait_for
from support.searches import TINY, ongoing_trials, processes_of, read_csv, start, worker_in_trial
from support.workers import free_ports
from wage_tf.cli import tune
from wage_tf.errors import UserError
from wage_tf.search import heartbeat
from wage_tf.search.processes import Workers, WorkersFailed
from wage_tf.search.secret import VARIABLE

SECRET = "known-to-the-tests"

# A worker of this machine may miss its parent process or the answer of the chief first.
CHIEF_IS_LOST = re.compile("error: the chief .*(is gone|was lost)")


@pytest.fixture
def run_dir(tmp_path):
    """A run directory; whatever processes a failed test leaves there are killed."""
    path = tmp_path / "run"
    yield path
    for pid in processes_of(path):
        os.kill(pid, signal.SIGKILL)


def records(run_dir):
    return {path.parent.name: path.read_bytes() for path in run_dir.glob("oracle/*/record.json")}


def by_environment(name, port):
    """The role of a chief, or of a worker that no chief started, by KerasTuner's variables."""
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    return {"KERASTUNER_TUNER_ID": name, VARIABLE: SECRET, **address}


def stop_this_process(moment, signum):
    """Sends a signal to this process at a moment; for a thread."""
    wait_for(moment)
    os.kill(os.getpid(), signum)


@pytest.mark.slow
def test_a_search_outlives_a_stopped_worker_and_three_ways_to_stop_it(run_dir, monkeypatch, capsys):
    """There are many more patterns than are trained here, so that a stop never comes after the end."""
    port = str(free_ports(1)[0])
    widths = ",".join(map(str, range(2, 17)))
    arguments = ["--weights", widths, "--activations", widths, "--epochs", "2", "--run-dir", str(run_dir), "--resume"]
    chief = start(*arguments, "--workers", "1", patience=20, **by_environment("chief", port))
    trial, worker = wait_for(lambda: worker_in_trial(run_dir), chief)
    os.kill(worker, signal.SIGSTOP)
    wait_for(lambda: f"trial_{trial}" in records(run_dir), chief)
    joined = start(*arguments, patience=3, **by_environment("workerA", port))
    wait_for(lambda: "workerA" in ongoing_trials(run_dir), chief, joined)
    chief.kill()
    assert "worker0: no sign of life for 20 seconds" in chief.communicate()[0]
    last_words = joined.communicate()[0]
    wait_for(lambda: not processes_of(run_dir))
    assert joined.returncode == 1
    assert "Traceback" not in last_words
    for output in (last_words, (run_dir / "workers" / "worker0.log").read_text()):
        assert CHIEF_IS_LOST.search(output.strip().splitlines()[-1])

    def both_started():
        return len(processes_of(run_dir)) == 2

    def a_trial_has_ended():
        return len(records(run_dir)) > len(found)

    found = records(run_dir)
    for signum, workers, moment in ((signal.SIGINT, "2", both_started), (signal.SIGTERM, "1", a_trial_has_ended)):
        stop = threading.Thread(target=stop_this_process, args=(moment, signum))
        stop.start()
        assert tune.main([*TINY, *arguments, "--workers", workers]) == 128 + signum
        stop.join()
        assert "--resume" in capsys.readouterr().out
        assert not processes_of(run_dir)
        if signum == signal.SIGINT:
            assert records(run_dir) == found

    begun = len(list(run_dir.glob("oracle/trial_*")))
    joined = start(*arguments, **by_environment("workerB", port))
    for name, value in by_environment("chief", port).items():
        monkeypatch.setenv(name, value)
    assert tune.main([*TINY, *arguments, "--max-trials", str(begun)]) == 0
    output, _ = joined.communicate()
    assert joined.returncode == 0, output
    rows = read_csv(run_dir / "trials.csv")
    assert len({row["pattern"] for row in rows}) == len(rows) == begun
    assert {row["status"] for row in rows} == {"completed"}
    assert found.items() < records(run_dir).items()


class _Oracle:
    """As much of an oracle as the workers' supervision touches."""

    def __init__(self, trial=None):
        self.ongoing_trials = {} if trial is None else {"worker0": trial}
        self.ended = []

    def end_trial(self, trial):
        self.ended.append((trial.trial_id, trial.status))
        self.ongoing_trials = {}


def supervised(program, oracle, folder, until, lines=None):
    given_up = []
    lines = [] if lines is None else lines
    workers = Workers([sys.executable, "-c", program], 1, folder, lambda *trial: given_up.append(trial), lines.append)
    workers.start("127.0.0.1", 1, SECRET)
    try:
        wait_for(lambda: workers.supervise(oracle) or until(given_up))
    finally:
        workers.stop()
    return given_up


def test_a_trial_that_kills_three_workers_is_given_up(tmp_path):
    oracle = _Oracle(SimpleNamespace(trial_id="7", status="RUNNING", message=None))
    ((trial, reason),) = supervised("import os; os.kill(os.getpid(), 9)", oracle, tmp_path, lambda found: found)
    assert trial == "7"
    assert "died 3 times (SIGKILL)" in reason
    assert oracle.ended == [("7", "FAILED")]


@pytest.mark.slow
def test_a_worker_that_is_not_heard_is_ended_and_the_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 1)
    oracle, lines = _Oracle(SimpleNamespace(trial_id="7", status="RUNNING", message=None)), []
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    ((trial, reason),) = supervised(deaf, oracle, tmp_path, lambda found: found, lines)
    assert (trial, oracle.ended) == ("7", [("7", "FAILED")])
    assert "died 3 times (SIGKILL)" in reason
    assert lines == ["worker0: no sign of life for 1 seconds: it is ended, and another takes its place"] * 3


@pytest.mark.slow
def test_a_worker_that_is_heard_is_left_alone_until_it_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 5)
    pid, lines, quiet_until = tmp_path / "pid", [], []
    program = f"import os, runpy, time; runpy.run_path({heartbeat.__file__!r})['beat'](print);"
    program += f"open({str(pid)!r}, 'x').write(str(os.getpid())); time.sleep(600)"

    def stopped_later(given_up):
        if not quiet_until and pid.exists():
            quiet_until.append(time.monotonic() + 7)
        if quiet_until and time.monotonic() > quiet_until[0]:
            os.kill(int(pid.read_text()), signal.SIGSTOP)
            quiet_until[0] = float("inf")
        assert not lines or quiet_until == [float("inf")]
        return lines

    supervised(program, _Oracle(), tmp_path, stopped_later, lines)
    assert len(lines) == 1


def test_a_time_in_which_the_chief_itself_was_stopped_does_not_count(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now[0])
    listener = heartbeat.Listener()
    for now[0] in (1.0, 2.0, 500.0, 500.2, 555.0):
        assert not listener.is_silent()
    now[0] = 555.2
    for step in range(70):
        now[0] += 1
        assert listener.is_silent() == (step >= 59)
    os.write(listener.worker_end, b".")
    assert not listener.is_silent()
    listener.started()
    listener.close()


def test_workers_that_cannot_start_end_the_search(tmp_path):
    with pytest.raises(WorkersFailed, match="no such thing"):
        supervised("raise SystemExit('tuner.py: error: no such thing')", _Oracle(), tmp_path, lambda found: False)


def test_wrong_input_of_a_worker_is_the_users(tmp_path):
    program = "import sys; print('tuner.py: error: bad data'); sys.exit(2)"
    with pytest.raises(UserError, match=r"^bad data$"):
        supervised(program, _Oracle(), tmp_path, lambda found: False)
