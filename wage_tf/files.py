"""Writes files whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import errno
import glob
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wage_tf.errors import UserError

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

_PREFIX = ".writing-"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder, whose name ends alike, that takes `path`'s place at the end.

    The file is flushed to the disk before it is renamed, so a crash leaves the old file or the new one. If the block
    raises, the temporary file is removed and `path` stays as it was.

    Raises:
        OSError: Names `path`, where a failed write would name no file.
    """
    handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=f"-{path.name}", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes a folder where it is missing, and keeps other processes out of it.

    The lock ends with the process, however that ends. File systems and systems without locks let everybody in.

    Raises:
        UserError: If another process holds the lock, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"run directory {folder} cannot be written: {error.strerror}") from error
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process uses {folder}: wait for its end, or give another directory") from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
                raise
        yield
    finally:
        os.close(handle)


def is_unfinished(path: Path) -> bool:
    """Whether `path` is a temporary file that a killed process left."""
    return path.name.startswith(_PREFIX)


def remove_unfinished(folder: Path, name: str = "") -> None:
    """Removes the temporary files that a killed process left in a folder: all, or those of one file name."""
    pattern = f"{_PREFIX}????????-{glob.escape(name)}" if name else f"{_PREFIX}*"
    for path in folder.glob(pattern):
        path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_all(contents: Mapping[Path, bytes]) -> int:
    """Writes files of which none takes its place before all are on the disk.

    Whatever goes wrong before that, a full disk or SystemExit, leaves the targets as they were and no temporary file;
    what a killed process left of the same targets is removed.

    Args:
        contents: The content of every file by its path.

    Returns:
        Their bytes together.

    Raises:
        UserError: If a path is a folder.
    """
    for path in contents:
        if path.is_dir():
            raise UserError(f"{path} is a folder: a file of that name is to be written")
        remove_unfinished(path.parent, path.name)
    with contextlib.ExitStack() as stack:
        for path, content in contents.items():
            with open(stack.enter_context(replacing(path)), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
    return sum(map(len, contents.values()))


def write_json(path: Path, value: object) -> None:
    """Writes `value` to `path` as indented JSON, atomically."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Writes one line a row below the names of the first one's entries, atomically; an empty file without rows."""
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
