"""The exceptions that a command turns into a single clear line and an exit code."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in what the user gave, or in what the user's machine holds: exit code 2.

    The message is one line that names what was received and says what to do.
    """


class Failure(Exception):
    """A command ends without its result, and not by the user's mistake.

    The message is one line that says what to do.

    Attributes:
        exit_code: The command's.
    """

    exit_code = 1
