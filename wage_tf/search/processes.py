"""A search in several processes: KerasTuner's chief here, its workers as child processes, and their end."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import grpc
import keras_tuner

from wage_tf import machine
from wage_tf.errors import Failure, UserError
from wage_tf.search import heartbeat, secret
from wage_tf.search.heartbeat import Listener
from wage_tf.search.kerastuner import ChiefLost, Servicer, Trial, TrialStatus

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 5
_CHIEF_SECONDS = 300
_LOST_SECONDS = 60
_KNOCK_SECONDS = 5
_MOST_DEATHS = 3
_WRONG_INPUT = 2


class WorkersFailed(Failure):
    """The workers end before they ask for a trial; the message quotes what the last one wrote."""


class _Worker(NamedTuple):
    process: subprocess.Popen
    listener: Listener


class Workers:
    """Worker processes on this machine, each with its share of the cores.

    A worker that ends before the oracle told it to is started again and gets its trial again, by its ID; a trial that
    three workers have died in is given up. A worker that is not heard for a minute, as when it was stopped, is ended.

    Args:
        command: Program and arguments of a worker; its role is in KerasTuner's environment variables.
        count: Number of workers.
        logs: Folder of their output.
        give_up: Called with a trial's ID and the reason before it is ended as failed; returns its score.
        print_line: Prints a line about a worker.
    """

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        logs: Path,
        give_up: Callable[[str, str], None],
        print_line: Callable[[str], None],
    ):
        self.command = list(command)
        self.logs = logs
        self.give_up = give_up
        self.print_line = print_line
        self.names = [f"worker{number}" for number in range(count)]
        self._environment: dict[str, str] = {}
        self._running: dict[str, _Worker] = {}
        self._deaths: collections.Counter[str] = collections.Counter()

    def start(self, address: str, port: int, shared: str) -> None:
        """Starts all workers of the chief at an address, with the secret that they share with it."""
        self.logs.mkdir(exist_ok=True)
        cores = str(max(1, machine.cpus() // max(1, len(self.names))))
        threads = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
        self._environment = {
            **os.environ,
            **dict.fromkeys(threads, cores),
            "KERASTUNER_ORACLE_IP": address,
            "KERASTUNER_ORACLE_PORT": str(port),
            secret.VARIABLE: shared,
        }
        for name in self.names:
            self._start(name)

    def supervise(self, oracle: keras_tuner.Oracle) -> None:
        """Ends silent workers, and starts workers again that have ended before the search has.

        Raises:
            UserError: If a worker says that the user's input is wrong.
            WorkersFailed: If one ends again and again without a trial.
        """
        for name, worker in list(self._running.items()):
            if worker.listener.is_silent():
                again = (
                    f"no sign of life for {heartbeat.SILENT_SECONDS} seconds: it is ended, and another takes its place"
                )
                self.print_line(f"{name}: {again}")
                worker.process.kill()
                worker.process.wait()
            code = worker.process.poll()
            if code is None:
                continue
            del self._running[name]
            worker.listener.close()
            if code == 0:
                continue
            if code == _WRONG_INPUT:
                raise UserError(self._last_line(name))
            trial = oracle.ongoing_trials.get(name)
            place = name if trial is None else f"trial {trial.trial_id}"
            self._deaths[place] += 1
            if self._deaths[place] >= _MOST_DEATHS:
                if trial is None:
                    raise WorkersFailed(self._last_line(name))
                cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                self._end_trial(oracle, trial, f"its worker died {_MOST_DEATHS} times ({cause})")
            self._start(name)

    def stop(self) -> None:
        """Ends all workers, and waits until they are gone."""
        for worker in self._running.values():
            worker.process.terminate()
        deadline = time.monotonic() + _GRACE_SECONDS
        for process, listener in self._running.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            listener.close()
        self._running.clear()

    def _start(self, name: str) -> None:
        listener = Listener()
        with open(self.logs / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                self.command,
                env={**self._environment, **listener.environment, "KERASTUNER_TUNER_ID": name},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[listener.worker_end],
            )
        listener.started()
        self._running[name] = _Worker(process, listener)

    def _end_trial(self, oracle: keras_tuner.Oracle, trial: Trial, reason: str) -> None:
        self.give_up(trial.trial_id, reason)
        trial.status, trial.message = TrialStatus.FAILED, reason
        oracle.end_trial(trial)

    def _last_line(self, name: str) -> str:
        lines = (self.logs / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1].partition("error: ")[2] or lines[-1] if lines else f"{name} ended without a message"


def serve(
    oracle: keras_tuner.Oracle, address: str, port: int, shared: str, workers: Workers, watch: Callable[[], None]
) -> None:
    """Answers workers over gRPC, as KerasTuner's chief does, until all have been told that the search is over.

    KerasTuner's own loop waits for ever for a worker that died and takes 20 seconds to notice the end.

    Args:
        oracle: The oracle.
        address: Network address to listen at.
        port: Port; 0 for a free one.
        shared: Secret without which nobody is answered.
        workers: Workers to start here; others may join from elsewhere.
        watch: Called several times a second.

    Raises:
        UserError: If the port is taken.
        Exception: What the oracle raises when a worker asks, such as OSError where its state cannot be written.
    """
    guards = [secret.Guard(shared)]
    server = grpc.server(ThreadPoolExecutor(max_workers=1), interceptors=guards, options=[("grpc.so_reuseport", 0)])
    servicer = Servicer(oracle)
    servicer.add_to(server)
    try:
        bound = server.add_insecure_port(f"{address}:{port}")
    except RuntimeError:
        bound = 0
    if not bound:
        raise UserError(f"port {port} at {address} is in use or cannot be opened: give another KERASTUNER_ORACLE_PORT")
    server.start()
    try:
        workers.start(address, bound, shared)
        while not (servicer.stop_triggered and not oracle.ongoing_trials and not oracle.tuner_ids):
            time.sleep(_POLL_SECONDS)
            if servicer.failure is not None:
                raise servicer.failure
            workers.supervise(oracle)
            watch()
        watch()
    finally:
        server.stop(grace=1).wait()
        workers.stop()


def role() -> tuple[str, str, int]:
    """Returns `"alone"`, `"chief"` or `"worker"` by KerasTuner's environment variables, the chief's address and port.

    Raises:
        UserError: If some of the variables are missing, or the port is no number.
    """
    names = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
    given = {name: os.environ[name] for name in names if name in os.environ}
    if not given:
        return "alone", "127.0.0.1", 0
    if len(given) < len(names):
        missing = next(name for name in names if name not in given)
        raise UserError(f"the environment has {next(iter(given))} but no {missing}: set all three, or none")
    name, address, port = given.values()
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise UserError(f"KERASTUNER_ORACLE_PORT: a port from 1 to 65535 is wanted; received {port!r}")
    return "chief" if "chief" in name else "worker", address, int(port)


@contextlib.contextmanager
def talking_to_chief(address: str, port: int, report_error: Callable[[str], object]) -> Iterator[None]:
    """Waits for the chief, five minutes at most, before the block; ends this process if it is gone for a minute.

    KerasTuner would wait for an hour, and not notice before the end of the trial.

    Args:
        address: Where the chief listens.
        port: Its port.
        report_error: Prints the error that ends the process.

    Raises:
        ChiefLost: If the chief does not answer, or ends the connection.
        UserError: If the chief has another secret.
    """
    where = f"the chief at {address}:{port} (KERASTUNER_ORACLE_IP, KERASTUNER_ORACLE_PORT)"
    if not _answers(address, port, _CHIEF_SECONDS):
        raise ChiefLost(f"{where} does not answer")
    done = threading.Event()

    def watch() -> None:
        heard = time.monotonic()
        while not done.wait(min(_KNOCK_SECONDS, _LOST_SECONDS / 4)):
            if _answers(address, port, _KNOCK_SECONDS):
                heard = time.monotonic()
            elif time.monotonic() - heard > _LOST_SECONDS:
                heartbeat.end_process(report_error, f"{where} was lost: no answer for {_LOST_SECONDS} seconds")

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise UserError(f"{where} has another secret: set {secret.VARIABLE} to the chief's") from error
        raise ChiefLost(f"{where} was lost: {error.code().name}") from error
    finally:
        done.set()


def _answers(address: str, port: int, seconds: float) -> bool:
    """Whether a new connection to the chief comes about; an old one may look alive when its host is not."""
    with grpc.insecure_channel(f"{address}:{port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(seconds)
        except grpc.FutureTimeoutError:
            return False
    return True
