"""The score: its formula, and that a pattern which breaks a constraint ranks behind all that keep it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wage_tf.search.scoring import Scoring

errors, shares = st.floats(0, 100), st.floats(0.001, 16)


def test_by_weight():
    scoring = Scoring("energy", "inference", 2.0)
    assert scoring.score(1.5, 0.25) == 2.0
    assert scoring.key == "energy_inference"
    assert "error + 2 * cost" in scoring.formula


@given(errors, shares, errors, shares)
def test_max_cost_ranks_what_keeps_it_first(error, cost, other_error, other_cost):
    scoring = Scoring("energy", "inference", 1.0, max_cost=0.5)
    kept, broken = scoring.affords(cost), not scoring.affords(other_cost)
    if kept and broken:
        assert scoring.score(error, cost) < scoring.score(other_error, other_cost)
    if kept and scoring.affords(other_cost):
        assert (scoring.score(error, cost) < scoring.score(other_error, other_cost)) == (error < other_error)


@given(errors, shares, errors, shares)
def test_max_error_ranks_what_keeps_it_first(error, cost, other_error, other_cost):
    scoring = Scoring("memory", "training", 1.0, max_error=2.0, highest_cost=16.0)
    if scoring.accepts(error, cost) and not scoring.accepts(other_error, other_cost):
        assert scoring.score(error, cost) < scoring.score(other_error, other_cost)
    if scoring.accepts(error, cost) and scoring.accepts(other_error, other_cost):
        assert (scoring.score(error, cost) < scoring.score(other_error, other_cost)) == (cost < other_cost)
