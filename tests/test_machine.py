"""Figures of the machine, also where the system does not tell."""

import os

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


def test_systems_without_affinity_and_sysconf(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "sysconf", raising=False)
    monkeypatch.setattr(machine, "_MEMORY", tmp_path / "none")
    assert machine.cpus() == os.cpu_count()
    assert machine.memory() == machine.free_memory() == float("inf")
