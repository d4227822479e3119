"""A slice of every family of attacks; `make attack` runs thousands."""

from __future__ import annotations

import random

import pytest

from attacks.families import FAMILIES


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("attacks")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("readers", 200),
        ("words", 200),
        ("arrays", 200),
        ("rpc", 40),
        ("commands", 4),
        ("kills", 1),
        ("environments", 1),
    ],
)
def test_a_slice_of(name, count, place):
    (place / name).mkdir()
    family = FAMILIES[name](place / name)
    for number in range(count):
        family.attack(random.Random(f"suite/{number}"), print)
