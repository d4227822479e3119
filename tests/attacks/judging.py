"""Runs a command under attack, and judges how it ends."""

from __future__ import annotations

import contextlib
import io
import traceback
import warnings
from collections.abc import Callable, Sequence

import keras

FORESEEN = {0, 1, 2, 3}


class Finding(AssertionError):
    """An answer that is none of those promised."""


def answer(command: Callable[[Sequence[str]], int], *words: object) -> int:
    """Runs a command in this process and returns its exit code.

    Raises:
        Finding: If the command raises, ends with another exit code than those documented, or prints an error that is
            not one clean line.
    """
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            code = command([str(word) for word in words])
    except SystemExit as end:
        code = end.code
    except Exception as error:
        raise Finding("".join(traceback.format_exception(error))) from error
    finally:
        keras.backend.clear_session()
    check(code, out.getvalue(), err.getvalue())
    return code


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
