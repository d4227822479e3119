"""Starts train.py as several workers on this machine's loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def tf_config(ports, index):
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


def start_workers(*args, cwd, count=2):
    """Starts the workers, the chief first; their stdout and stderr go to files in `cwd`."""
    ports = free_ports(count)
    command = [sys.executable, str(ROOT / "train.py"), "--strategy", "multiworker", *args]
    workers = []
    for index in range(count):
        environment = {**os.environ, "TF_CONFIG": tf_config(ports, index)}
        with open(cwd / f"{index}.out", "w") as out, open(cwd / f"{index}.err", "w") as err:
            workers.append(subprocess.Popen(command, cwd=cwd, env=environment, stdout=out, stderr=err))
    return workers


def output(cwd, index):
    return (cwd / f"{index}.out").read_text(), (cwd / f"{index}.err").read_text()
