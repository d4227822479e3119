"""The Pareto front and the best trial."""

from __future__ import annotations

import pytest

from support import searches
from wage_tf.search import pareto, records


def trial(name, error, cost, status="completed", epochs=1, score=None):
    errors = () if error is None else tuple(error) if isinstance(error, list) else (error,)
    number = name if name.isdigit() else str(ord(name))
    score = score if score is not None else float(error is not None)
    return searches.record(
        trial=number, values={}, pattern=name, epochs=epochs, status=status, errors=errors, cost=cost, score=score
    )


def test_the_front_holds_what_nothing_beats_in_both():
    found = [trial("a", 5.0, 0.2), trial("b", 3.0, 0.4), trial("c", 4.0, 0.5), trial("d", 1.0, 1.0)]
    assert [record.pattern for record in pareto.front(found)] == ["a", "b", "d"]


def test_equals_and_failures_are_left_out():
    found = [trial("a", 5.0, 0.2), trial("b", 5.0, 0.2), trial("c", None, 0.1, "failed")]
    assert [record.pattern for record in pareto.front(found)] == ["a"]
    assert pareto.best([found[2]]) is None
    assert pareto.front([]) == []


def test_the_longest_training_of_a_pattern_counts():
    short, long = trial("p", 1.0, 0.5, epochs=1), trial("p", 2.0, 0.5, epochs=3)
    assert pareto.front([short, long]) == [long]


def test_what_may_come_to_the_front_is_kept():
    """A longer training may be worse than the shorter one that it replaces, and what that one beat comes back."""
    beaten, short = trial("a", 30.0, 0.2), trial("b", 25.0, 0.2)
    assert pareto.contenders([beaten, short], epochs=3) == [beaten, short]
    long = trial("b", 33.0, 0.2, epochs=3)
    assert pareto.front([beaten, short, long]) == [beaten]
    assert pareto.contenders([beaten, short, long], epochs=3) == [beaten, long]
    final = trial("c", 28.0, 0.2, epochs=3)
    assert pareto.contenders([beaten, short, long, final], epochs=3) == [final]


def test_of_trainings_that_none_continues_the_front_alone_is_kept():
    found = [trial("a", 5.0, 0.2), trial("b", 3.0, 0.4), trial("c", 4.0, 0.5), trial("d", 5.0, 0.2)]
    assert pareto.contenders(found, epochs=1) == pareto.front(found)


def test_the_best_has_the_smallest_score_and_of_equals_costs_less():
    found = [trial("a", 5.0, 0.4, score=2.0), trial("b", 5.0, 0.2, score=2.0), trial("c", 5.0, 0.1, score=3.0)]
    assert pareto.best(found).pattern == "b"


def test_mean_and_spread():
    record = trial("a", [1.0, 3.0], 0.2)
    assert record.error == 2.0
    assert record.spread == pytest.approx(2**0.5)
    assert trial("b", 1.0, 0.2).spread is None


def test_the_table_reads_back(tmp_path):
    records.write_table(tmp_path / "t.csv", [trial("0", [1.0, 3.0], 0.25)], {"0": 1.5})
    (row,) = searches.read_csv(tmp_path / "t.csv")
    assert (row["pattern"], row["error_mean"], row["test_error"]) == ("0", "2.0000", "1.5000")
