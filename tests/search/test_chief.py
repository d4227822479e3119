"""The chief's service over gRPC on loopback: who is answered, who is turned away, and when it is lost."""

from __future__ import annotations

import contextlib
import errno
import socket
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
import keras_tuner
import pytest
from keras_tuner.src import protos

from support.searches import TINY
from wage_tf.cli import tune
from wage_tf.errors import UserError
from wage_tf.search import processes
from wage_tf.search.kerastuner import Servicer, Trial
from wage_tf.search.processes import ChiefLost, serve
from wage_tf.search.secret import VARIABLE, Guard, Sender
from wage_tf.search.tuner import WageTuner

SECRET = "known-to-the-tests"


class _Asking:
    """Workers of which one asks once for a trial."""

    def start(self, address, port, shared):
        self._channel = grpc.intercept_channel(grpc.insecure_channel(f"{address}:{port}"), Sender(shared))
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
        serve(oracle, "127.0.0.1", 0, SECRET, _Asking(), lambda: None)


@contextlib.contextmanager
def chief(oracle):
    """A server that answers for an oracle those who know SECRET; gives its address and itself."""
    servicer = Servicer(oracle)
    server = grpc.server(ThreadPoolExecutor(max_workers=1), interceptors=[Guard(SECRET)])
    servicer.add_to(server)
    bound = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{bound}", servicer
    server.stop(0).wait()


def strangers():
    """Requests of every kind, by the names of their methods, with trials and workers that are made up."""
    messages = protos.get_service()
    trial = Trial(keras_tuner.HyperParameters(), "9", "COMPLETED").to_proto()
    return {
        "GetSpace": messages.GetSpaceRequest(),
        "UpdateSpace": messages.UpdateSpaceRequest(hyperparameters=keras_tuner.HyperParameters().to_proto()),
        "CreateTrial": messages.CreateTrialRequest(tuner_id="stranger"),
        "UpdateTrial": messages.UpdateTrialRequest(trial_id="9", metrics={"score": -1.0}),
        "EndTrial": messages.EndTrialRequest(trial=trial),
        "GetTrial": messages.GetTrialRequest(trial_id="9"),
        "GetBestTrials": messages.GetBestTrialsRequest(num_trials=1),
    }


@pytest.mark.parametrize("method", sorted(strangers()))
@pytest.mark.parametrize("metadata", [None, [("wage-tf-search-secret", "guessed")], [("wage-tf-search-secret", "")]])
def test_a_stranger_is_turned_away_before_the_oracle_hears_of_it(method, metadata):
    with chief(None) as (address, servicer), grpc.insecure_channel(address) as channel:
        with pytest.raises(grpc.RpcError) as error:
            getattr(protos.get_service_grpc().OracleStub(channel), method)(strangers()[method], metadata=metadata)
        assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert servicer.failure is None


@pytest.mark.parametrize("method", ["UpdateTrial", "EndTrial", "GetTrial"])
def test_a_trial_that_is_not_being_run_is_refused_and_the_chief_goes_on(method):
    oracle = SimpleNamespace(ongoing_trials={"worker0": SimpleNamespace(trial_id="0")})
    with chief(oracle) as (address, servicer), grpc.insecure_channel(address) as channel:
        stub = protos.get_service_grpc().OracleStub(grpc.intercept_channel(channel, Sender(SECRET)))
        with pytest.raises(grpc.RpcError, match="trial '9' is not being run") as error:
            getattr(stub, method)(strangers()[method])
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
        assert servicer.failure is None


@pytest.mark.parametrize("name", ["", "x" * 101, "two\nlines", "\u202e"])
def test_a_worker_without_a_proper_id_is_refused(name):
    with chief(None) as (address, servicer), grpc.insecure_channel(address) as channel:
        stub = protos.get_service_grpc().OracleStub(grpc.intercept_channel(channel, Sender(SECRET)))
        with pytest.raises(grpc.RpcError, match="a worker's ID is"):
            stub.CreateTrial(protos.get_service().CreateTrialRequest(tuner_id=name))
        assert servicer.failure is None


def test_a_worker_with_another_secret_says_what_to_do():
    with chief(None) as (address, _), grpc.insecure_channel(address) as channel:
        host, port = address.split(":")
        stub = protos.get_service_grpc().OracleStub(channel)
        with (
            pytest.raises(UserError, match="has another secret: set WAGE_TF_SEARCH_SECRET to the chief's"),
            processes.talking_to_chief(host, int(port), print),
        ):
            stub.GetSpace(protos.get_service().GetSpaceRequest())


@pytest.mark.parametrize("given", [None, "", "short", "with a space in it", "x" * 201, "naïve-and-long-enough"])
def test_several_machines_need_a_secret_that_can_be_sent(given, monkeypatch, tmp_path, capsys):
    monkeypatch.delenv(VARIABLE, raising=False)
    if given is not None:
        monkeypatch.setenv(VARIABLE, given)
    for name, value in (("TUNER_ID", "chief"), ("ORACLE_IP", "127.0.0.1"), ("ORACLE_PORT", "8000")):
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    assert tune.main([*TINY, "--weights", "2,8", "--run-dir", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert VARIABLE in line
    assert not given or given not in line
    assert not (tmp_path / "run").exists()


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


def test_a_port_in_use_is_one_line(tmp_path, monkeypatch, capsys):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
        monkeypatch.setenv(VARIABLE, SECRET)
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(listener.getsockname()[1]))
        assert tune.main([*TINY, "--weights", "2,8", "--run-dir", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "in use" in line
