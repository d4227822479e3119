"""TF_CONFIG as its users write it, and every way to get it wrong."""

from __future__ import annotations

import json
import socket

import pytest
from workers_helper import free_ports, tf_config

import train
from wage_tf.distribution import cluster
from wage_tf.errors import UserError

WORKERS = ["a:1", "b:2"]


def text(jobs=None, **task):
    return json.dumps({"cluster": jobs or {"worker": WORKERS}, "task": {"type": "worker", "index": 0, **task}})


@pytest.mark.parametrize(
    ("config", "addresses", "index"),
    [
        (text(), ("a:1", "b:2"), 0),
        (text(index=1), ("a:1", "b:2"), 1),
        (text(index="1"), ("a:1", "b:2"), 1),
        (text({"chief": ["c:3"], "worker": WORKERS}), ("c:3", "a:1", "b:2"), 1),
        (text({"chief": ["c:3"], "worker": WORKERS}, type="chief"), ("c:3", "a:1", "b:2"), 0),
        (text({"worker": ["[::1]:4"]}), ("[::1]:4",), 0),
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


def test_a_port_in_use(monkeypatch, capsys):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, error = command(tf_config([port, *free_ports(1)], 0), monkeypatch, capsys)
    assert code == 2
    assert f"port {port} of localhost cannot be used (Address already in use)" in error


def test_a_host_that_does_not_exist(monkeypatch, capsys):
    code, error = command(text({"worker": ["no.such.host.invalid:2222"]}), monkeypatch, capsys)
    assert code == 2
    assert "no.such.host.invalid is not the name of a host" in error
