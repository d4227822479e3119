"""Figures of the machine, also where the system does not tell."""

import os

from wage_tf import machine


def test_a_process_has_at_most_the_machines_cpus():
    assert 1 <= machine.cpus() <= os.cpu_count()
    assert 10**8 < machine.memory() < float("inf")


def test_systems_without_affinity_and_sysconf(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert machine.cpus() == os.cpu_count()
    assert machine.memory() == float("inf")
