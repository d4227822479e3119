"""Learning rates over the epochs, written and read."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from wage_tf import schedules

ETAS = st.floats(1e-9, 1e6)


@st.composite
def schedules_of(draw):
    later = draw(st.sets(st.integers(1, 1_000_000), max_size=6))
    return tuple((epoch, draw(ETAS)) for epoch in (0, *sorted(later)))


@given(schedules_of())
def test_what_is_written_is_read_back(schedule):
    assert schedules.parse(schedules.to_text(schedule)) == schedule


@given(schedules_of(), st.integers(-20, 20))
def test_a_power_of_two_scales_exactly_and_back(schedule, exponent):
    scaled = schedules.scaled(schedule, 2.0**exponent)
    assert [epoch for epoch, _ in scaled] == [epoch for epoch, _ in schedule]
    assert [new / old for (_, new), (_, old) in zip(scaled, schedule, strict=True)] == [2.0**exponent] * len(schedule)
    assert schedules.scaled(scaled, 2.0**-exponent) == schedule


@pytest.mark.parametrize("exponent", range(-30, 21))
def test_a_power_of_two_is_still_one_when_it_is_read_back(exponent):
    ((_, rate),) = schedules.parse(schedules.to_text(((0, 2.0**exponent),)))
    assert schedules.log2_of_rate(rate) == exponent


def test_a_rate_of_twelve_digits_is_read_as_before():
    assert schedules.parse("3.81469726562e-06@0") == ((0, 3.81469726562e-06),)


@pytest.mark.parametrize("text", ["8@0", "8@0,1@200,0.125@250", "0.001953125@0"])
def test_the_text_is_the_shortest(text):
    assert schedules.to_text(schedules.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "8", "8@", "@0", "8@1", "8@0,1@0", "8@0,1@5,2@3", "-8@0", "inf@0", "nan@0", "8@0.5", "0@0", "8@0,1@1000001",
     "8@0@1", "8@-1", "1_0@0", "8@0,1@1_0", "8@0,1@\u0668", "8@0,", "1e@0", "8@ 1_0"],
)  # fmt: skip
def test_malformed_schedules(text):
    with pytest.raises(ValueError, match="a schedule is pairs of learning rate and first epoch") as error:
        schedules.parse(text)
    assert repr(text) in str(error.value)
