"""Where a figure comes from: the commit of the code and the hardware it ran on."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import shutil
import subprocess
from pathlib import Path

from wage_tf.runs.directory import versions

ROOT = Path(__file__).resolve().parent.parent
_TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp")


def session() -> dict[str, object]:
    """What is true of a process that starts now: time, commit and hardware."""
    now = datetime.datetime.now(datetime.UTC)
    return {"started": now.isoformat(timespec="seconds"), "commit": commit(), "hardware": hardware()}


def head(command: str) -> dict[str, object]:
    """What a record begins with: the command that makes it, `session`, and versions."""
    return {"command": command, **session(), "versions": versions()}


def path_beside(directory: Path) -> Path:
    """Where the sessions of a run are kept, beside its directory."""
    return directory.with_name(f"{directory.name}.provenance.json")


def commit() -> str | None:
    """The commit of the working tree, with "-dirty" where a tracked file differs from it; None outside of git."""
    described = _output("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    return described or None


def hardware() -> dict[str, object]:
    """CPU, those of its flags that decide the speed of integers, cores of the machine and of this process, GPUs."""
    info = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            info.setdefault(key.strip(), value.strip())
    flags = (info.get("flags") or info.get("Features") or "").split()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "flags": [flag for flag in _TELLING_FLAGS if flag in flags],
        "cores": os.cpu_count(),
        "usable_cores": usable,
        "gpus": _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines(),
    }


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
