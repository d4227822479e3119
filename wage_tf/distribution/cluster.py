"""Reads and checks TF_CONFIG, the environment variable in which TensorFlow users describe their cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
from collections.abc import Mapping

from wage_tf.errors import UserError

_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
_JOBS = ("chief", "worker")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of one training.

    Attributes:
        addresses: host:port of every worker, the chief first.
        index: which of them this process is.
    """

    addresses: tuple[str, ...]
    index: int


def from_environment(environment: Mapping[str, str] = os.environ) -> Cluster:
    """Returns the cluster that TF_CONFIG describes, as `MultiWorkerMirroredStrategy` will read it.

    Raises:
        UserError: If TF_CONFIG is missing or malformed, or the port of this worker is taken or not this machine's.
    """
    text = environment.get("TF_CONFIG")
    if not text:
        raise UserError(f"TF_CONFIG is not set: several workers find each other by it, such as {_EXAMPLE}")
    cluster = parse(text)
    _check_address(cluster.addresses[cluster.index])
    return cluster


def parse(text: str) -> Cluster:
    """Parses the text of TF_CONFIG.

    Raises:
        UserError: Names what is wrong.
    """
    try:
        config = json.loads(text)
    except ValueError as error:
        raise UserError(f"TF_CONFIG is not JSON ({error}); it looks like {_EXAMPLE}") from None
    jobs, task = (config.get(key) if isinstance(config, dict) else None for key in ("cluster", "task"))
    if not isinstance(jobs, dict) or not isinstance(task, dict):
        raise UserError(f"TF_CONFIG needs the objects 'cluster' and 'task', such as {_EXAMPLE}; received {text}")
    unknown = sorted(set(jobs) - set(_JOBS))
    if unknown:
        raise UserError(
            f"TF_CONFIG: the jobs of a cluster are 'worker' and at most one 'chief'; received {unknown[0]!r}"
        )
    addresses = [_addresses(jobs, job) for job in _JOBS]
    if len(addresses[0]) > 1:
        raise UserError(f"TF_CONFIG: a cluster has one chief at most; received {len(addresses[0])}")
    job, index = task.get("type"), task.get("index")
    if job not in jobs:
        raise UserError(f"TF_CONFIG: the task's type is one of the cluster's jobs {sorted(jobs)}; received {job!r}")
    if isinstance(index, str) and index.isdecimal():
        index = int(index)
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(jobs[job]):
        raise UserError(f"TF_CONFIG: the task's index is 0 to {len(jobs[job]) - 1} for {job!r}; received {index!r}")
    everyone = (*addresses[0], *addresses[1])
    if len(set(everyone)) < len(everyone):
        raise UserError(f"TF_CONFIG: every worker needs an address of its own; received {', '.join(everyone)}")
    return Cluster(everyone, index + (len(addresses[0]) if job == "worker" else 0))


def _addresses(jobs: Mapping[str, object], job: str) -> list[str]:
    addresses = jobs.get(job, [])
    if not isinstance(addresses, list) or (job in jobs and not addresses):
        raise UserError(f"TF_CONFIG: {job!r} is a list of addresses host:port; received {addresses!r}")
    for address in addresses:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not (host and port.isdecimal() and 0 < int(port) < 2**16):
            raise UserError(f"TF_CONFIG: an address is host:port with a port of 1 to 65535; received {address!r}")
    return addresses


def _check_address(address: str) -> None:
    """Tries the port of this worker, since TensorFlow's server would share a taken one without a word."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][0]
    except OSError as error:
        raise UserError(f"TF_CONFIG: {host} is not the name of a host ({error.strerror})") from None
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", int(port)))
        except OSError as error:
            raise UserError(
                f"TF_CONFIG: port {port} of {host} cannot be used ({error.strerror}): is another job running there? "
                f"End it, or choose another port"
            ) from None
