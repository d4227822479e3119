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
PATIENCE_SECONDS = 300


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
    def too_late(signum: int, frame: FrameType | None) -> None:
        raise Finding(f"no answer for {PATIENCE_SECONDS} seconds")

    previous = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


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
