"""Runs a command under attack, and judges how it ends."""

from __future__ import annotations

import contextlib
import io
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from wage_tf.cli import exits

FORESEEN = {0, 1, 2, 3}
BUSY_SECONDS = 120
IDLE_SECONDS = 3600


class Finding(AssertionError):
    """An answer that is none of those promised."""


def refused(read: Callable[..., None], *arguments: object) -> None:
    """Reads a damaged file in this process as a command does: it is read, or refused in one line.

    Raises:
        Finding: See `answer`; also if there is no answer.
    """
    answer(lambda _: exits.run("attack", lambda _: read(*arguments) or 0))


def answer(command: Callable[[Sequence[str]], int], *words: object) -> int:
    """Runs a command in this process and returns its exit code.

    Raises:
        Finding: If the command raises, ends with another exit code than those documented, or prints an error that is
            not one clean line.
    """
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings(), _in_time():
            code = command([str(word) for word in words])
    except SystemExit as end:
        code = end.code
    except Finding:
        raise
    except Exception as error:
        raise Finding("".join(traceback.format_exception(error))) from error
    check(code, out.getvalue(), err.getvalue())
    return code


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Ends what hangs, by the processor's time where it can, since a busy machine makes everything slow."""

    def too_late(signum: int, frame: FrameType | None) -> None:
        raise Finding(f"no end within {BUSY_SECONDS} seconds of work or {IDLE_SECONDS} seconds")

    previous = {signum: signal.signal(signum, too_late) for signum in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, BUSY_SECONDS)
    signal.alarm(IDLE_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def check(code: int, out: str, err: str) -> None:
    """Judges an exit code and what was printed.

    Raises:
        Finding: See `answer`.
    """
    errors = [line for line in err.splitlines() if ": error: " in line]
    if code not in FORESEEN:
        raise Finding(f"exit code {code}: {err[-2000:]}")
    if "Traceback" in out + err:
        raise Finding(f"a traceback: {(out + err)[-2000:]}")
    if code == 2 and len(errors) != 1:
        raise Finding(f"exit code 2 with {len(errors)} error lines: {err[-2000:]}")
    if any(not (c.isprintable() or c in "\n\t\r\b") for c in err):
        raise Finding(f"control characters reach the terminal: {err!r}")
