"""What the commands refuse, or warn of, before they ask any other machine."""

from __future__ import annotations

import json
import socket

import pytest

from support.workers import free_ports, tf_config
from support.written_runs import write_run
from wage_tf.cli import export, train, tune, verify
from wage_tf.distribution import devices
from wage_tf.errors import UserError

REMOTE = "gs://bucket/data"


@pytest.fixture(scope="module")
def run_of_remote_data(tmp_path_factory):
    """A finished run whose configuration says that its data is in a bucket."""
    path = tmp_path_factory.mktemp("run") / "run"
    write_run(path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "dataset": "mnist", "data_dir": REMOTE}))
    return path


@pytest.fixture
def no_network(monkeypatch):
    def refused(*args):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refused)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    "command",
    [
        lambda run, new: train.main(["--dataset", "mnist", "--data-dir", REMOTE, "--run-dir", str(new)]),
        lambda run, new: tune.main(["--dataset", "mnist", "--data-dir", REMOTE, "--run-dir", str(new)]),
        lambda run, new: train.main(["--evaluate", str(run)]),
        lambda run, new: verify.main([str(run)]),
    ],
    ids=["train", "tune", "evaluate", "verify"],
)
def test_data_on_another_machine_is_one_line(command, run_of_remote_data, tmp_path, capsys):
    assert command(run_of_remote_data, tmp_path / "new") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"data_dir {REMOTE} is on another machine: copy it" in line
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("no_network")
def test_an_export_needs_no_data(run_of_remote_data, tmp_path):
    assert export.main([str(run_of_remote_data), "--to", "packed", "--out", str(tmp_path / "x.wage")]) == 0


def test_multiworker_says_that_its_port_is_open_to_all(monkeypatch, capsys):
    def connect(cluster):
        raise UserError("no further")

    ports = free_ports(2)
    monkeypatch.setenv("TF_CONFIG", tf_config(ports, 1))
    monkeypatch.setattr(devices, "multiworker", connect)
    assert train.main(["--strategy", "multiworker"]) == 2
    assert f"security: port {ports[1]} of all interfaces is open, without authentication" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        train.main(["--help"])
    assert "SECURITY" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "words"), [(train.main, []), (export.main, ["run", "--to", "c"]), (verify.main, ["run"])]
)
def test_a_word_of_a_wrong_argument_cannot_steer_the_terminal(command, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        command([*words, "--nothing=a\x1b[31m\nb"])
    (line,) = capsys.readouterr().err.splitlines()
    assert "a\\x1b[31m b" in line


@pytest.mark.parametrize("number", ["9" * 400, "9" * 5000, "0", "1.5"])
def test_a_count_out_of_range_is_one_line(number, capsys):
    with pytest.raises(SystemExit, match="2"):
        train.main(["--epochs", number])
    assert f"an integer from 1 to 2147483647 is wanted, received '{number}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (train.main, ["--evaluate", "\0"]),
        (train.main, ["--from", "\0"]),
        (train.main, ["--bits-from", "\0"]),
        (export.main, ["\0", "--to", "c"]),
        (export.main, ["run", "--to", "c", "--out", "\0"]),
        (verify.main, ["\0"]),
    ],
)
def test_a_path_with_a_nul_is_one_line(command, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        command(words)
    assert "a name or path is wanted, received '\\x00'" in capsys.readouterr().err
