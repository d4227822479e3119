"""What this process may use: CPUs and memory of the machine or, in a container, of its control groups (version 2)."""

from __future__ import annotations

import math
import os
from pathlib import Path

_MEMORY = Path("/proc/meminfo")
_GROUP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def cpus() -> int:
    """The number of CPUs that this process may use, a container's quota rounded up."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [limit.split() for _, limit in _limits("cpu.max")]
    return min([usable, *(math.ceil(int(microseconds) / int(period)) for microseconds, period in quotas)])


def memory() -> float:
    """Bytes of memory; infinity on a system that does not tell, such as Windows."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else float("inf")
    return min([total, *(int(limit) for _, limit in _limits("memory.max"))])


def free_memory() -> float:
    """Bytes that a process can still have: Linux's MemAvailable, in a container no more than its limit leaves beside
    what is no cache of files; `memory()` where the system does not tell."""
    free = [_table(_MEMORY).get("MemAvailable:", 0) * 1024 or memory()]
    for group, limit in _limits("memory.max"):
        table = _table(group / "memory.stat")
        cached = table.get("active_file", 0) + table.get("inactive_file", 0)
        free.append(max(0, int(limit) - int(_text(group / "memory.current") or 0) + cached))
    return min(free)


def _limits(name: str) -> list[tuple[Path, str]]:
    """The control groups that this process is in, the innermost first, with what such a file of each says, if a limit;
    none of other versions and systems."""
    own = [_GROUPS / line.removeprefix("0::/") for line in _text(_GROUP).splitlines() if line.startswith("0::/")]
    limits = [(group, _text(group / name).strip()) for path in own for group in (path, *path.parents)]
    return [(group, limit) for group, limit in limits if limit and not limit.startswith("max")]


def _table(path: Path) -> dict[str, int]:
    """The numbers of a file of Linux's kernel, by the words before them."""
    rows = [line.split() for line in _text(path).splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) > 1}


def _text(path: Path) -> str:
    """A file's text; nothing where it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""
