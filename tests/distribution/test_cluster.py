"""TF_CONFIG as its users write it, and every way to get it wrong."""

from __future__ import annotations

import json
import signal
import socket

import pytest

from support.workers import free_ports, tf_config
from wage_tf.cli import train
from wage_tf.distribution import cluster
from wage_tf.errors import UserError

WORKERS = ["a:1", "b:2"]


def text(jobs=None, more=None, **task):
    task = {"type": "worker", "index": 0, **task}
    return json.dumps({"cluster": jobs or {"worker": WORKERS}, "task": task, **(more or {})})


@pytest.mark.parametrize(
    ("config", "addresses", "index"),
    [
        (text(), ("a:1", "b:2"), 0),
        (text(index=1), ("a:1", "b:2"), 1),
        (text(index="1"), ("a:1", "b:2"), 1),
        (text({"chief": ["c:3"], "worker": WORKERS}), ("c:3", "a:1", "b:2"), 1),
        (text({"chief": ["c:3"], "worker": WORKERS}, type="chief"), ("c:3", "a:1", "b:2"), 0),
        (text({"worker": ["[::1]:4"]}), ("[::1]:4",), 0),
        (text(more={"rpc_layer": "grpc"}), ("a:1", "b:2"), 0),
    ],
)
def test_the_chief_comes_first(config, addresses, index):
    assert cluster.parse(config) == cluster.Cluster(addresses, index)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "TF_CONFIG is not JSON"),
        ("[]", "needs the objects 'cluster' and 'task'"),
        ('{"cluster": {"worker": ["a:1"]}}', "needs the objects 'cluster' and 'task'"),
        (text({"worker": WORKERS, "ps": ["d:4"]}), "received 'ps'"),
        (text({"chief": ["c:3", "d:4"], "worker": WORKERS}), "one chief at most; received 2"),
        (text({"worker": []}), "is a list of addresses host:port; received []"),
        (text({"worker": "a:1"}), "is a list of addresses host:port; received 'a:1'"),
        (text({"worker": ["a"]}), "received 'a'"),
        (text({"worker": ["a:0"]}), "a port of 1 to 65535; received 'a:0'"),
        (text({"worker": ["a:65536"]}), "received 'a:65536'"),
        (text({"worker": [7]}), "received 7"),
        (text({"worker": ["a:1", "a:1"]}), "an address of its own"),
        (text(type="chief"), "one of the cluster's jobs ['worker']; received 'chief'"),
        (text(index=2), "0 to 1 for 'worker'; received 2"),
        (text(index=-1), "0 to 1 for 'worker'; received -1"),
        (text(index=True), "received True"),
        (text(index=None), "received None"),
        (text(index="1" * 5000), "the task's index is 0 to 1"),
        (text(index="\u0661"), "the task's index is 0 to 1"),
        (text(type=["worker"]), "one of the cluster's jobs ['worker']; received ['worker']"),
        (text(more={"rpc_layer": "grpcx"}), "the rpc_layer is 'grpc'; received 'grpcx'"),
        (text(more={"rpc_layer": None}), "the rpc_layer is 'grpc'; received None"),
        ("[" * 100_000, "TF_CONFIG is not JSON"),
        ('{"cluster": {"worker": ["a:1"]},\n "task": 7}', "needs the objects 'cluster' and 'task'"),
        (text({"worker": ["a:" + "1" * 5000]}), "a port of 1 to 65535"),
        (text({"worker": ["a..b:1"]}), "received 'a..b:1'"),
        (text({"worker": ["a" * 64 + ":1"]}), "a port of 1 to 65535"),
        (text({"worker": ["grpc://a:1"]}), "received 'grpc://a:1'"),
        (text({"worker": [" a:1"]}), "received ' a:1'"),
        (text({"worker": ["a:1", "a:01"]}), "received 'a:01'"),
        (text({"worker": ["a:\u0661"]}), "a port of 1 to 65535"),
    ],
)
def test_what_is_wrong_is_named(config, message):
    with pytest.raises(UserError) as error:
        cluster.parse(config)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def command(config, monkeypatch, capsys):
    if config is None:
        monkeypatch.delenv("TF_CONFIG", raising=False)
    else:
        monkeypatch.setenv("TF_CONFIG", config)
    code = train.main(["--strategy", "multiworker"])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return code, error


def test_no_tf_config(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, error = command(None, monkeypatch, capsys)
    assert code == 2
    assert error.startswith("train.py: error: TF_CONFIG is not set")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("family", [socket.AF_INET, *([socket.AF_INET6] if socket.has_dualstack_ipv6() else [])])
def test_a_port_in_use(family, monkeypatch, capsys):
    with socket.create_server(("", 0), family=family) as taken:
        port = taken.getsockname()[1]
        code, error = command(tf_config([port, *free_ports(1)], 0), monkeypatch, capsys)
    assert code == 2
    assert f"port {port} of localhost cannot be used (Address already in use)" in error


@pytest.fixture
def unused():
    """Ports of two workers that nobody listens on."""
    return free_ports(2)


def test_an_address_that_is_another_machines(unused, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "OWN_SECONDS", 0)
    address = f"no.such.host.invalid:{unused[0]}"
    code, error = command(text({"worker": [address, "b:2"]}), monkeypatch, capsys)
    assert code == 2
    assert f"{address} is not an address of this machine, where worker 0 was started" in error


def test_a_worker_that_never_starts_is_named(unused, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "PEER_SECONDS", 1.0)
    code, error = command(tf_config(unused, 0), monkeypatch, capsys)
    assert code == 3
    assert f"another worker was lost (no answer from localhost:{unused[1]} in 1 s)" in error


def test_a_host_that_has_no_name_yet_is_waited_for(unused, monkeypatch):
    """As on Kubernetes, where a pod's name comes with the pod; and a server that starts while others ask for it."""
    created = socket.create_connection
    tried = []

    def name_comes_late(address, timeout):
        tried.append(address)
        return created(("localhost", address[1]) if len(tried) > 3 else address, timeout)

    def start(_):
        servers.append(socket.create_server(("", unused[1])))

    servers = []
    monkeypatch.setattr(cluster.socket, "create_connection", name_comes_late)
    monkeypatch.setattr(cluster.time, "sleep", start)
    workers = cluster.Cluster((f"localhost:{unused[0]}", f"no.such.host.invalid:{unused[1]}"), 0)
    cluster.wait_for_peers(workers)
    for server in servers:
        server.close()
    assert len(servers) == 1


def test_a_connection_to_oneself_is_no_answer(unused, monkeypatch):
    with socket.socket() as itself:
        itself.bind(("localhost", unused[0]))
        itself.connect(("localhost", unused[0]))
        monkeypatch.setattr(cluster.socket, "create_connection", lambda *_, **__: itself)
        assert not cluster._answers(f"localhost:{unused[0]}")


def test_ctrl_c_ends_the_wait(unused, monkeypatch, capsys):
    monkeypatch.setattr(cluster.time, "sleep", lambda _: signal.raise_signal(signal.SIGINT))
    monkeypatch.setenv("TF_CONFIG", tf_config(unused, 0))
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert train.main(["--strategy", "multiworker"]) == 130
    finally:
        signal.signal(signal.SIGINT, previous)
    assert "stopped by SIGINT; go on with: python train.py --strategy multiworker" in capsys.readouterr().out
