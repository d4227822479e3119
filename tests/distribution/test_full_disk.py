"""The chief's disk is full: the file that could not be written is named."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from wage_tf import files


def write_to_full_disk(path, content):
    raise OSError(errno.EFBIG, "File too large")


def test_a_file_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_bytes", write_to_full_disk)
    path = tmp_path / "step-000000001.ckpt"
    with pytest.raises(OSError, match="File too large") as error:
        files.write_bytes(path, b"weights")
    assert error.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []
