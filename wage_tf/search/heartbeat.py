"""A pipe from a worker to the chief that started it: each learns by it that the other is gone, or stopped.

It needs nothing but Python, so that a worker can be heard before it has imported TensorFlow.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import NoReturn

SILENT_SECONDS = 60
_BEAT_SECONDS = 0.5
_VARIABLE = "WAGE_TF_SEARCH_HEARTBEAT"


class Listener:
    """The chief's end of the pipe.

    Attributes:
        worker_end: The file descriptor that the worker inherits; closed by `started`.
    """

    def __init__(self) -> None:
        self._end, self.worker_end = os.pipe()
        os.set_blocking(self._end, False)
        self._heard = self._listened = time.monotonic()

    @property
    def environment(self) -> dict[str, str]:
        """What the worker needs to know."""
        return {_VARIABLE: str(self.worker_end)}

    def started(self) -> None:
        """Closes this process' copy of the worker's end."""
        os.close(self.worker_end)

    def close(self) -> None:
        """Closes the pipe, which ends a worker that is left."""
        os.close(self._end)

    def is_silent(self) -> bool:
        """Whether nothing was heard for a minute in which this process asked again and again.

        A time in which this process itself did not run, as when both were stopped together, does not count.
        """
        now = time.monotonic()
        with contextlib.suppress(BlockingIOError):
            if os.read(self._end, 1 << 16):
                self._heard = now
        if now - self._listened > SILENT_SECONDS / 10:
            self._heard = now
        self._listened = now
        return now - self._heard > SILENT_SECONDS


def beat(report_error: Callable[[str], object]) -> None:
    """Lets the chief that started this process hear it, and ends it when that is gone, even by `kill -9`.

    In a process that no chief started it does nothing.

    Args:
        report_error: Prints the error that ends the process.
    """
    end = os.environ.get(_VARIABLE)
    if end is None:
        return

    def write() -> None:
        with contextlib.suppress(OSError):
            while os.write(int(end), b"."):
                time.sleep(_BEAT_SECONDS)
        end_process(report_error, "the chief that started this worker is gone")

    threading.Thread(target=write, daemon=True).start()


def end_process(report_error: Callable[[str], object], message: str) -> NoReturn:
    """Ends this process at once, whatever its main thread is doing."""
    report_error(message)
    os._exit(1)
