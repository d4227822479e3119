"""Starts train.py as several workers on this machine's loopback."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_ports(count):
    """Ports below those that a kernel gives to connections, so that nobody takes them before the workers do."""
    ports = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            ports.append(port)
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
