"""The one exception that a command line turns into a single clear line and exit code 2."""


class UserError(ValueError):
    """A mistake in what the user gave, or in what the user's machine holds.

    The message is one line that names what was received and says what to do. Library code raises it for data,
    files and settings from outside; `train.py` and the other commands print it and exit with code 2.
    """
