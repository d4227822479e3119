"""SIGINT and SIGTERM: what a command does when it is asked to stop."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_POLL_SECONDS = 0.2


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM; `signum` is its number. No `Exception`, so that nothing takes it for a failure of its own."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def raise_stopped(signum: int) -> None:
    """Raises `Stopped`."""
    raise Stopped(signum)


class Signals:
    """The handlers of a command, in place while the object is used as a context manager.

    A signal ends the command at once. Where it is `deferred`, the first one waits for `check`, and the second ends it.

    Args:
        end: Ends the command, called with the signal's number. An exception will do in a program whose own the command
            is not, but an import, a destructor or a library under way can swallow it.
    """

    def __init__(self, end: Callable[[int], None] = raise_stopped) -> None:
        self.received: int | None = None
        self._end = end
        self._is_deferred = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._previous = {signum: signal.signal(signum, self._receive) for signum in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    def check(self) -> None:
        """Raises `Stopped` if a signal was received."""
        if self.received is not None:
            raise Stopped(self.received)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Lets the block finish what it is doing: it asks by `check` whether to stop."""
        self.check()
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    def communicate(self, process: subprocess.Popen) -> tuple:
        """`process.communicate()`, with a signal passed on to the process.

        Raises:
            Stopped: After the end of a process that a signal was passed on to.
        """
        with self.deferred():
            while True:
                try:
                    return process.communicate(timeout=_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    if self.received is not None:
                        process.send_signal(self.received)
                        process.communicate()
                    self.check()

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        first, self.received = self.received is None, self.received or signum
        if not (first and self._is_deferred):
            self._end(self.received)
