"""The oracles without any training: order, repetition, and going on after a kill."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import pytest

from wage_tf.errors import UserError
from wage_tf.search import oracles
from wage_tf.search.candidates import Candidates
from wage_tf.search.directory import SearchDirectory

WIDTHS = {"weights": ("2", "4", "8"), "activations": ("4", "8", "f"), "gradients": ("8",), "errors": ("6", "8")}
ALL = set(itertools.product(("2", "4", "8"), ("4", "8", "f"), ("6", "8")))


def config(oracle, max_trials=None, seed=0):
    """As much of a SearchConfig as an oracle reads."""
    return SimpleNamespace(oracle=oracle, max_trials=max_trials, epochs=9, seed=seed)


def make(path, *args, affords=lambda values: True, **kwargs):
    return oracles.create(config(*args, **kwargs), Candidates(WIDTHS), SearchDirectory(path), affords)


def step(oracle, finish=True):
    """Runs one trial as a tuner would; returns its choice, or None at the end of the search."""
    trial = oracle.create_trial("tuner0")
    if trial.status == "STOPPED":
        return None
    values = tuple(trial.hyperparameters.values.get(name, "8") for name in ("weights", "activations", "errors"))
    if finish:
        oracle.update_trial(trial.trial_id, {"score": sum(float(v.replace("f", "32")) for v in values)})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return values


def steps(oracle):
    return list(iter(lambda: step(oracle), None))


@pytest.mark.parametrize("name", ["grid", "random", "bayesian"])
def test_every_pattern_once(tmp_path, name):
    found = steps(make(tmp_path, name, None if name == "grid" else 18))
    assert len(found) == len(ALL)
    assert set(found) == ALL


@pytest.mark.parametrize("name", ["random", "bayesian"])
def test_the_first_is_the_nearest_to_eight_bits(tmp_path, name):
    assert step(make(tmp_path, name, 4)) == ("8", "8", "8")


@pytest.mark.parametrize("name", oracles.NAMES)
def test_the_same_seed_gives_the_same_trials(tmp_path, name):
    first, second = (steps(make(tmp_path / part, name, 8, seed=0)) for part in "ab")
    assert first == second
    assert len(first) == 8


@pytest.mark.parametrize(
    ("name", "stop"), [("grid", 0), ("grid", 1), ("grid", 5), ("random", 0), ("random", 5), ("bayesian", 5)]
)
def test_a_search_killed_in_a_trial_goes_on_as_if_it_had_not_been(tmp_path, name, stop):
    whole = steps(make(tmp_path / "whole", name, 8))
    oracle = make(tmp_path / "cut", name, 8)
    before = [step(oracle) for _ in range(stop)]
    step(oracle, finish=False)
    assert before + steps(make(tmp_path / "cut", name, 8)) == whole


@pytest.mark.parametrize("name", ["grid", "random"])
def test_workers_need_not_wait_for_each_other(tmp_path, name):
    oracle = make(tmp_path, name, 8)
    found = [oracle.create_trial(f"worker{number}") for number in range(4)]
    assert [trial.status for trial in found] == ["RUNNING"] * 4
    assert len({tuple(trial.hyperparameters.values.items()) for trial in found}) == 4


def test_a_grid_that_ended_has_nothing_left(tmp_path):
    steps(make(tmp_path, "grid"))
    assert step(make(tmp_path, "grid")) is None


def test_hyperband_goes_on_after_a_kill(tmp_path):
    oracle = make(tmp_path, "hyperband")
    planned = oracle.planned_trials(Candidates(WIDTHS).size)
    step(oracle)
    step(oracle, finish=False)
    assert 1 + len(steps(make(tmp_path, "hyperband"))) == planned


@pytest.mark.parametrize("name", ["random", "bayesian", "hyperband"])
def test_what_costs_too_much_is_not_proposed_while_there_is_anything_else(tmp_path, name):
    def affords(values):
        return values["weights"] != "8" and values["activations"] == "4"

    found = steps(make(tmp_path, name, 6, affords=affords))
    cheap = {values for values in ALL if values[0] != "8" and values[1] == "4"}
    if name != "hyperband":
        assert found[0] == ("4", "4", "6")
    assert set(found[:4]) == cheap
    assert len(found) == 6


def test_the_largest_seed(tmp_path):
    assert len(steps(make(tmp_path, "bayesian", 6, seed=2**31 - 1))) == 6


@pytest.mark.parametrize(
    ("file", "content"),
    [("oracle.json", ""), ("oracle.json", "{}"), ("oracle.json", "[]"), ("trial_0/trial.json", "{"),
     ("trial_0/trial.json", "{}"), ("trial_0/trial.json", "[]")],
)  # fmt: skip
def test_a_damaged_state_is_named(tmp_path, file, content):
    steps(make(tmp_path, "random", 2))
    path = tmp_path / "oracle" / file
    assert path.exists()
    path.write_text(content)
    with pytest.raises(UserError, match=f"{path} is damaged.*--run-dir"):
        make(tmp_path, "random", 2)


@pytest.mark.parametrize(("entry", "value"), [("start_order", 3), ("end_order", 3), ("end_order", "x")])
def test_a_state_of_other_types_is_named(tmp_path, entry, value):
    steps(make(tmp_path, "random", 2))
    path = tmp_path / "oracle" / "oracle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), entry: value}))
    with pytest.raises(UserError, match=f"{path} is damaged.*--run-dir"):
        make(tmp_path, "random", 2)


def test_a_folder_in_the_place_of_the_state_is_named(tmp_path):
    steps(make(tmp_path, "random", 2))
    path = tmp_path / "oracle" / "oracle.json"
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=f"{path} is damaged.*--run-dir"):
        make(tmp_path, "random", 2)


@pytest.mark.parametrize(("errors", "max_trials"), [(("6",), None), (("6",), 40), (("6", "8"), 40), (("6", "8"), 20)])
def test_hyperband_in_a_small_space_ends_where_it_was_planned_to(tmp_path, errors, max_trials):
    """The first bracket of 9 epochs takes nine new patterns, the second five, the third three."""
    space = Candidates({**WIDTHS, "errors": errors})
    oracle = oracles.create(config("hyperband", max_trials), space, SearchDirectory(tmp_path))
    planned = oracle.planned_trials(space.size)
    assert len(list(iter(lambda: step(oracle), None))) == planned


@pytest.mark.parametrize("widths", [{}, {"weights": ("2", "4"), "activations": ("4", "8", "f")}])
def test_a_space_too_small_for_the_first_bracket_of_hyperband(widths):
    space = Candidates({**dict.fromkeys(WIDTHS, ("8",)), **widths})
    with pytest.raises(UserError, match=f"9 patterns.* {space.size}.*--oracle grid"):
        oracles.check_space(config("hyperband"), space)
    oracles.check_space(config("grid"), space)
    oracles.check_space(config("hyperband"), Candidates(WIDTHS))


def test_planned_trials(tmp_path):
    assert make(tmp_path / "a", "grid").planned_trials(18) == 18
    assert make(tmp_path / "b", "grid", 5).planned_trials(18) == 5
    assert make(tmp_path / "c", "random", 50).planned_trials(18) == 18
