"""The start of a command: arguments first, TensorFlow afterwards, and quietly."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def importing_tensorflow(verbose: bool = False) -> Iterator[None]:
    """Keeps off the terminal what the import of TensorFlow writes, and its log from then on.

    Args:
        verbose: Show all of it.
    """
    if verbose or sys.stderr is None:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with contextlib.ExitStack() as stack:
        try:
            terminal = os.dup(2)
        except OSError:
            yield
            return
        stack.callback(os.close, terminal)
        stack.callback(os.dup2, terminal, 2)
        sys.stderr.flush()
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
