"""Reads and checks TF_CONFIG, in which TensorFlow users describe their cluster, and waits for its workers."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import reprlib
import socket
import time
from collections.abc import Iterable, Mapping

from wage_tf.errors import Failure, UserError

PEER_SECONDS = 600.0
OWN_SECONDS = 10.0

_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
_JOBS = ("chief", "worker")

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 100


class WorkerLost(Failure):
    """Another worker of the training ended or cannot be reached; the message says what is known."""

    exit_code = 3

    def __init__(self, what: str):
        super().__init__(f"another worker was lost ({what}); start all of them again with --resume")


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
        UserError: If TF_CONFIG is missing or malformed.
    """
    text = environment.get("TF_CONFIG")
    if not text:
        raise UserError(f"TF_CONFIG is not set: several workers find each other by it, such as {_EXAMPLE}")
    return parse(text)


def parse(text: str) -> Cluster:
    """Parses the text of TF_CONFIG.

    Raises:
        UserError: Names what is wrong.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"TF_CONFIG is not JSON ({error}); it looks like {_EXAMPLE}") from None
    jobs, task = (config.get(key) if isinstance(config, dict) else None for key in ("cluster", "task"))
    if not isinstance(jobs, dict) or not isinstance(task, dict):
        raise UserError(
            f"TF_CONFIG needs the objects 'cluster' and 'task', such as {_EXAMPLE}; received {_short.repr(config)}"
        )
    if config.get("rpc_layer", "grpc") != "grpc":
        raise UserError(f"TF_CONFIG: the rpc_layer is 'grpc'; received {_short.repr(config['rpc_layer'])}")
    unknown = sorted(set(jobs) - set(_JOBS))
    if unknown:
        raise UserError(
            f"TF_CONFIG: the jobs of a cluster are 'worker' and at most one 'chief'; received {_short.repr(unknown[0])}"
        )
    addresses = [_addresses(jobs, job) for job in _JOBS]
    if len(addresses[0]) > 1:
        raise UserError(f"TF_CONFIG: a cluster has one chief at most; received {len(addresses[0])}")
    job, index = task.get("type"), task.get("index")
    if not isinstance(job, str) or job not in jobs:
        raise UserError(
            f"TF_CONFIG: the task's type is one of the cluster's jobs {sorted(jobs)}; received {_short.repr(job)}"
        )
    if isinstance(index, str) and re.fullmatch(r"[0-9]{1,9}", index):
        index = int(index)
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(jobs[job]):
        raise UserError(
            f"TF_CONFIG: the task's index is 0 to {len(jobs[job]) - 1} for {job!r}; received {_short.repr(index)}"
        )
    everyone = (*addresses[0], *addresses[1])
    if len(set(everyone)) < len(everyone):
        raise UserError(f"TF_CONFIG: every worker needs an address of its own; received {', '.join(everyone)}")
    return Cluster(everyone, index + (len(addresses[0]) if job == "worker" else 0))


def wait_for_peers(cluster: Cluster) -> None:
    """Returns once the address of every worker has accepted a connection.

    TensorFlow's own wait takes an hour and cannot be interrupted, and its server shares a taken port silently:
    so this comes first. A socket listens on this worker's port meanwhile; TensorFlow's server answers who asks later.

    Raises:
        UserError: If the port of this worker is taken, or its address is not this machine's.
        WorkerLost: Names the workers that have not answered in `PEER_SECONDS`.
    """
    own = cluster.addresses[cluster.index]
    with contextlib.closing(_listen(own)):
        if _without_answer([own], OWN_SECONDS):
            raise UserError(
                f"TF_CONFIG: {own} is not an address of this machine, where worker {cluster.index} was started: "
                "check its host and the task's index"
            )
        if missing := _without_answer(cluster.addresses, PEER_SECONDS):
            raise WorkerLost(f"no answer from {', '.join(missing)} in {PEER_SECONDS:.0f} s")


def _addresses(jobs: Mapping[str, object], job: str) -> list[str]:
    addresses = jobs.get(job, [])
    if not isinstance(addresses, list) or (job in jobs and not addresses):
        raise UserError(f"TF_CONFIG: {job!r} is a list of addresses host:port; received {_short.repr(addresses)}")
    for address in addresses:
        if not isinstance(address, str) or not _is_address(address):
            raise UserError(
                f"TF_CONFIG: an address is host:port with a port of 1 to 65535; received {_short.repr(address)}"
            )
    return addresses


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    is_port = re.fullmatch(r"[1-9][0-9]{0,4}", port) and int(port) < 2**16
    return bool(is_port and re.fullmatch(r"[^\s/]+", host))


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _listen(address: str) -> socket.socket:
    """Listens as TensorFlow's server will: on all of this machine's addresses."""
    host, port = _split(address)
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, backlog=1024, dualstack_ipv6=both)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UserError(
            f"TF_CONFIG: port {port} of {host} cannot be used ({reason}): is another job running "
            "there? End it, or choose another port"
        ) from None


def _without_answer(addresses: Iterable[str], seconds: float) -> list[str]:
    """Tries each address until it has answered once; returns those that have not after `seconds`."""
    deadline = time.monotonic() + seconds
    missing = list(addresses)
    while (missing := [address for address in missing if not _answers(address)]) and time.monotonic() < deadline:
        time.sleep(0.2)
    return missing


def _answers(address: str) -> bool:
    try:
        with socket.create_connection(_split(address), timeout=2) as connection:
            # A connection to a free port of this machine may be given that very port as its own, and reach itself.
            return connection.getsockname() != connection.getpeername()
    except (OSError, UnicodeError):
        return False
