"""The oracles without any training: order, repetition, and going on after a kill."""

from __future__ import annotations

import itertools

import pytest

from wage_tf.search import oracles
from wage_tf.search.candidates import Candidates
from wage_tf.search.directory import SearchConfig, SearchDirectory

WIDTHS = {"weights": ("2", "4", "8"), "activations": ("4", "8", "f"), "gradients": ("8",), "errors": ("6", "8")}
ALL = set(itertools.product(("2", "4", "8"), ("4", "8", "f"), ("6", "8")))


def config(oracle, max_trials=None, seed=0):
    return SearchConfig(
        dataset="digits", data_dir=None, image_size=None, limit=None, validation=1, model="mlp", width=1.0,
        widths=WIDTHS, per_layer=(), learning_rates=(), oracle=oracle, max_trials=max_trials, epochs=9, executions=1,
        seed=seed, cost="energy", cost_of="inference", cost_weight=1.0, max_cost=None, max_error=None, keep="front",
        histogram_freq=0,
    )  # fmt: skip


def make(path, *args, **kwargs):
    return oracles.create(config(*args, **kwargs), Candidates(WIDTHS), SearchDirectory(path))


def step(oracle, finish=True):
    """Runs one trial as a tuner would; returns its choice, or None at the end of the search."""
    trial = oracle.create_trial("tuner0")
    if trial.status == "STOPPED":
        return None
    values = tuple(trial.hyperparameters.values[name] for name in ("weights", "activations", "errors"))
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


def test_a_grid_that_ended_has_nothing_left(tmp_path):
    steps(make(tmp_path, "grid"))
    assert step(make(tmp_path, "grid")) is None


def test_hyperband_goes_on_after_a_kill(tmp_path):
    oracle = make(tmp_path, "hyperband")
    planned = oracles.planned_trials(oracle, Candidates(WIDTHS))
    step(oracle)
    step(oracle, finish=False)
    assert 1 + len(steps(make(tmp_path, "hyperband"))) == planned


def test_planned_trials(tmp_path):
    assert oracles.planned_trials(make(tmp_path / "a", "grid"), Candidates(WIDTHS)) == 18
    assert oracles.planned_trials(make(tmp_path / "b", "grid", 5), Candidates(WIDTHS)) == 5
    assert oracles.planned_trials(make(tmp_path / "c", "random", 50), Candidates(WIDTHS)) == 18
