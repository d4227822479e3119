"""What this machine has: CPUs that the process may use, and memory."""

from __future__ import annotations

import os
from pathlib import Path

_MEMORY = Path("/proc/meminfo")


def cpus() -> int:
    """The number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> float:
    """Bytes of memory; infinity on a system that does not tell, such as Windows."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else float("inf")


def free_memory() -> float:
    """Bytes that a process can still have, Linux's MemAvailable; `memory()` where the system does not tell."""
    try:
        lines = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return memory()
