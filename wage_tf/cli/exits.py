"""How a command ends: one line and an exit code, whatever happens; one place for signals, warnings and messages."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Sequence

from wage_tf._program import is_ours
from wage_tf.errors import Failure, UserError
from wage_tf.runs.signals import Signals, Stopped, raise_stopped

USER_ERROR = 2
_SCRIPTS = {
    "python train.py": "wage-train",
    "python tuner.py": "wage-tune",
    "python -m wage_tf.export": "wage-export",
}


def run(program: str, command: Callable[[Signals], int], resume: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; an error, a warning or a stop is one line.

    Args:
        program: Its name, for messages.
        command: What to do; returns the exit code.
        resume: The command that goes on where this one was stopped; None where there is none.
    """
    _survive_any_output()
    stop = functools.partial(_end_process, resume) if is_ours() else raise_stopped
    with Signals(stop) as signals, warnings.catch_warnings():
        _use_pythons_own_filters()
        warnings.showwarning = show_warning
        try:
            try:
                return command(signals)
            except Exception as error:
                signals.check()
                message, code = _explain(error)
                fail(program, message)
                return code
        except Stopped as stopped:
            print(_stopped(stopped.signum, resume), flush=True)
            return 128 + stopped.signum


def fail(program: str, message: str) -> None:
    """Prints an error in one line on stderr, free of control characters."""
    say(f"{program}: error: {message}")


def show_warning(message: str | Warning, *_: object, **__: object) -> None:
    """Prints a warning in one line on stderr; fits `warnings.showwarning`."""
    say(f"warning: {message}")


def say(message: str) -> None:
    """Prints one line on stderr, free of control characters; without a stderr, nothing."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(one_line(message), file=sys.stderr, flush=True)


def one_line(message: str) -> str:
    """White space folded, and control characters, which could steer a terminal, written out."""
    folded = " ".join(message.split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in folded)


def program(script: str) -> str:
    """The name of the running command: of its console script, or `script`, the file that users of a clone start."""
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    return name if name.startswith("wage-") else script


def as_started(text: str) -> str:
    """A text that calls commands as in a clone, with their console scripts where the running command is one."""
    return "\n".join(map(_scripted, text.split("\n"))) if program("").startswith("wage-") else text


def _scripted(line: str) -> str:
    """A shorter name leaves the column of remarks where it is."""
    for called, script in _SCRIPTS.items():
        if called in line:
            room = " " * (len(called) - len(script))
            line = re.sub(r"(?<=\S)(?= {2})", room, line.replace(called, script), count=1)
    return line


def again(program: str, argv: Sequence[str] | None) -> list[str]:
    """The command that goes on with the run or search that `argv` started."""
    words = sys.argv[1:] if argv is None else argv
    start = ["python", program] if program.endswith(".py") else [program]
    return [*start, *(word for word in words if word not in ("--resume", "--overwrite")), "--resume"]


def _stopped(signum: int, resume: Sequence[str] | None) -> str:
    go_on = "" if resume is None else f"; go on with: {shlex.join(resume)}"
    return f"\nstopped by {signal.Signals(signum).name}{go_on}"


def _end_process(resume: Sequence[str] | None, signum: int) -> None:
    """Ends this process from a handler: an exception could be swallowed by whatever runs at this moment.

    What is open stays as after `kill -9`, which no file here minds.
    """
    message = _stopped(signum, resume)
    with contextlib.suppress(Exception):
        try:
            print(message, flush=True)
        except RuntimeError:  # the signal came within a print
            os.write(sys.stdout.fileno(), f"{message}\n".encode(errors="replace"))
    os._exit(128 + signum)


def _explain(error: Exception) -> tuple[str, int]:
    """The message and exit code of what ended a command; what nobody foresaw is raised again."""
    if isinstance(error, UserError):
        return str(error), USER_ERROR
    if isinstance(error, Failure):
        return str(error), error.exit_code
    if isinstance(error, BrokenPipeError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (nothing more can be written; Python flushes at its end)
        return "the output was closed", USER_ERROR
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or error}", USER_ERROR
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return "the memory is exhausted: try a smaller --batch-size or --width", USER_ERROR
    if type(error).__name__ == "DataLossError":
        return "a record file of the data set is damaged: delete the data set and prepare it again", USER_ERROR
    raise error


def _survive_any_output() -> None:
    """Gives a closed output a place to go, and a character that a terminal cannot show a replacement."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (open as long as the process)
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _use_pythons_own_filters() -> None:
    """Other libraries' warnings are no errors of a command, even under `python -W error`."""
    warnings.simplefilter("default")
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)
