"""Claims a run for one process, so that several runners work side by side."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def claim(path: Path) -> Iterator[int | None]:
    """Yields the descriptor of a locked file that holds this process' id, or None while another process has it.

    The kernel gives the lock back when the last process that holds the descriptor ends, however it ends: nothing of a
    killed owner has to be cleaned up, and a training that inherits the descriptor keeps its run claimed even if its
    runner dies.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if _locked(descriptor):
            os.truncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            yield descriptor
        else:
            yield None
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
