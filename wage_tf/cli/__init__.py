"""The command lines. In a process that runs one, a signal ends it quietly, until `exits.run` takes over."""

import os
import signal

from wage_tf._program import is_ours

if is_ours():
    for _signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(_signum, lambda signum, frame: os._exit(128 + signum))
