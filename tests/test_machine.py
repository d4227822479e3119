"""Figures of the machine and of a container, also where the system does not tell."""

import os

import pytest

from wage_tf import machine


def test_a_process_has_at_most_the_machines_cpus():
    assert 1 <= machine.cpus() <= os.cpu_count()
    assert 10**8 < machine.memory() < float("inf")
    assert 0 < machine.free_memory() <= machine.memory()


def test_free_memory_is_what_linux_calls_available(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_MEMORY", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal:   900 kB\nMemFree:   1 kB\nMemAvailable:     300 kB\nPages: 0\n")
    assert machine.free_memory() == 300 * 1024
    (tmp_path / "meminfo").write_text("MemTotal:   900 kB\nMemFree:   1 kB\n")
    assert machine.free_memory() == machine.memory()


@pytest.fixture
def group(monkeypatch, tmp_path):
    """The control group of a container, /outer/inner, on a machine of 64 CPUs and plenty of memory."""
    monkeypatch.setattr(machine, "_GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_GROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    monkeypatch.setattr(os, "sysconf", lambda name: 2**20, raising=False)
    monkeypatch.setattr(machine, "_MEMORY", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemAvailable: 1000000 kB\n")
    (tmp_path / "cgroup").write_text("1:cpu:/elsewhere\n0::/outer/inner\n")
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    return inner


@pytest.mark.parametrize(
    ("inner", "outer", "cpus"),
    [("max 100000", "max 100000", 64), ("150000 100000", "max 100000", 2), ("800000 100000", "100000 100000", 1)],
)
def test_a_containers_quota_of_cpus_counts(group, inner, outer, cpus):
    (group / "cpu.max").write_text(inner + "\n")
    (group.parent / "cpu.max").write_text(outer + "\n")
    assert machine.cpus() == cpus


def test_a_containers_limit_of_memory_counts_and_its_caches_of_files_are_free(group):
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("5000\n")
    assert (machine.memory(), machine.free_memory()) == (2**40, 1_024_000_000)
    (group / "memory.max").write_text("9000\n")
    assert (machine.memory(), machine.free_memory()) == (9000, 4000)
    (group / "memory.stat").write_text("anon 3000\nfile 2100\ninactive_file 1500\nactive_file 500\n")
    assert machine.free_memory() == 6000


def test_systems_without_affinity_and_sysconf(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "sysconf", raising=False)
    monkeypatch.setattr(machine, "_MEMORY", tmp_path / "none")
    monkeypatch.setattr(machine, "_GROUP", tmp_path / "none")
    assert machine.cpus() == os.cpu_count()
    assert machine.memory() == machine.free_memory() == float("inf")
