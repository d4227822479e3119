"""Writes the files of an export whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from wage_tf.errors import UserError


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """Writes files, each under a temporary name first; none takes its place before all are on the disk.

    Whatever goes wrong before that, a full disk or SystemExit, leaves the targets as they were and no temporary file;
    what a killed process left of an export to the same targets is removed.

    Args:
        contents: The content of every file by its path.

    Raises:
        UserError: If a path is a folder.
    """
    for path in contents:
        if path.is_dir():
            raise UserError(f"{path} is a folder: a file of that name is to be written")
        _remove_leftovers(path)
    with contextlib.ExitStack() as stack:
        temporaries = {path: _temporary(path) for path in contents}
        for temporary in temporaries.values():
            stack.callback(temporary.unlink, missing_ok=True)
        for path, content in contents.items():
            with open(temporaries[path], "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in temporaries.items():
            os.replace(temporary, path)


def _temporary(path: Path) -> Path:
    return path.with_name(f".writing-{path.name}-{secrets.token_hex(4)}")


def _remove_leftovers(path: Path) -> None:
    leftover = re.compile(re.escape(f".writing-{path.name}-") + "[0-9a-f]{8}")
    with contextlib.suppress(OSError):
        for entry in path.parent.iterdir():
            if leftover.fullmatch(entry.name):
                entry.unlink(missing_ok=True)
