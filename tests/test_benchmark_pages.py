"""Variants that take turns, and the page that is made of their records."""

from __future__ import annotations

import functools
import time

import pytest

from benchmarks import report, turns
from experiments import results

HARDWARE = {"cpu": "A CPU", "flags": [], "cores": 2, "usable_cores": 2, "gpus": []}
ORIGIN = {"command": "python -m benchmarks.peers", "started": "2026-01-02T03:04", "commit": "abc", "hardware": HARDWARE}
ROWS = [
    {"name": "wage_tf, 2-8-8-8", "milliseconds": 100.0, "ratio": 1.0, "peak_megabytes": 1500.4},
    {"name": "PyTorch, WAGE", "milliseconds": 151.0, "ratio": 1.5, "peak_megabytes": 1600.0},
    {"name": "PyTorch, WAGE, torch.compile", "milliseconds": 130.0, "ratio": 1.3, "peak_megabytes": 1700.0},
]


def sleeping(seconds):
    return functools.partial, [time.sleep, seconds]


def test_variants_take_turns_in_processes_of_their_own():
    found = turns.take_turns({"short": sleeping(0.005), "long": sleeping(0.04)}, rounds=3, warm_up=1)
    assert [len(times.seconds) for times in found.values()] == [3, 3]
    assert 2 < turns.median_ratio(found["long"], found["short"]) < 9
    assert all(2e6 < times.peak_bytes < 4e9 for times in found.values())


def test_a_budget_leaves_three_rounds():
    found = turns.take_turns({"one": sleeping(0.001)}, rounds=50, warm_up=0, budget=0)
    assert len(found["one"].seconds) == 3


@pytest.mark.parametrize(
    ("equal", "said"), [(True, "every stored weight is equal"), (False, "DIFFER"), (None, "1.30 times as fast")]
)
def test_peers_are_a_table_and_a_verdict(equal, said):
    figures = {
        "width": 1.0,
        "batch_size": 64,
        "rows": ROWS,
        "codes_equal": equal,
        "absent": {"Larq": "no"},
        "peers": {},
    }
    text = report.peers({**ORIGIN, "figures": figures})
    assert "| PyTorch, WAGE | 151 ms | 1.50 | 1600 MB |" in text
    assert said in " ".join(text.split())
    assert ("one step of both" in " ".join(text.split())) == (equal is not None)
    assert "Larq is missing: `no`." in text


def test_sizes_are_a_table_and_a_picture():
    size = {"milliseconds": {"integers": 12.0, "floats": 10.0}, "peak_megabytes": {"integers": 6.0, "floats": 5.0}}
    sizes = [
        {"width": w, "batch_size": b, "time_ratio": 1.2, "memory_ratio": 1.25, **size}
        for w in (0.5, 1)
        for b in (8, 16)
    ]
    record = {**ORIGIN, "figures": {"sizes": sizes}}
    assert "| 0.5 | 16 | 10 ms | 12 ms | 1.20 | 5 MB | 6 MB | 1.25 |" in report.batch_and_width(record)
    assert report.picture(record).startswith(b"\x89PNG")


def test_the_page_is_what_its_records_say():
    assert report.PAGE.read_text() == report.page(results.FOLDER / "benchmarks")


def test_the_guide_to_scaling_has_the_figures_of_the_newest_record():
    newest = report.records(results.FOLDER / "benchmarks", "scaling")[0]
    guide = report.SCALING.read_text()
    assert report.scaling(guide, newest) == guide
    cases = [dict(case, images_per_second=2 * case["images_per_second"]) for case in newest["figures"]["throughput"]]
    changed = {**newest, "figures": {**newest["figures"], "throughput": cases}}
    assert report.scaling(guide, changed) != guide
