"""Keeps TensorFlow's start-up messages off the terminal where `python -m wage_tf.…` imports this package first.

`train.py` and `tuner.py` do the same before they import anything of `wage_tf`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def is_command() -> bool:
    """Whether Python is looking for a module of this package to run it: `sys.argv[0]` is "-m" until it is found."""
    return sys.argv[:1] == ["-m"] and any(argument.startswith("wage_tf.") for argument in sys.orig_argv)


@contextlib.contextmanager
def importing_tensorflow() -> Iterator[None]:
    """Silences what a command's import of TensorFlow writes, and its log from then on.

    An import by a program, or with TF_CPP_MIN_LOG_LEVEL in the environment, writes as ever.
    """
    if not is_command() or _LOG_LEVEL in os.environ or sys.stderr is None:
        yield
        return
    os.environ[_LOG_LEVEL] = "3"
    sys.stderr.flush()
    terminal = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
