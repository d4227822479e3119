"""SIGINT and SIGTERM: what a command does when it is asked to stop."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM; `signum` is its number. No `Exception`, so that nothing takes it for a failure of its own."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Signals:
    """The handlers of a command, in place while the object is used as a context manager.

    A signal raises `Stopped` at once. Where it is `deferred`, the first one waits for `check`, and the second raises.

    An exception that a handler raises may be swallowed, by an import or a destructor that is under way. The signal is
    remembered, so that the next `check` raises again, and Python says nothing of the one that a destructor swallowed.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._is_deferred = False
        self._previous: dict[int, Any] = {}
        self._report = sys.unraisablehook

    def __enter__(self) -> Signals:
        self._report = sys.unraisablehook
        sys.unraisablehook = self._report_others
        if threading.current_thread() is threading.main_thread():
            self._previous = {signum: signal.signal(signum, self._receive) for signum in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        sys.unraisablehook = self._report
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

    @contextlib.contextmanager
    def ignored(self) -> Iterator[None]:
        """Lets the block end other processes undisturbed."""
        previous = {signum: signal.signal(signum, signal.SIG_IGN) for signum in self._previous}
        try:
            yield
        finally:
            for signum, handler in previous.items():
                signal.signal(signum, handler)

    def _report_others(self, swallowed: sys.UnraisableHookArgs) -> None:
        if not isinstance(swallowed.exc_value, Stopped):
            self._report(swallowed)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        first, self.received = self.received is None, self.received or signum
        if not (first and self._is_deferred):
            raise Stopped(self.received)
