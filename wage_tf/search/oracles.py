"""KerasTuner's oracles, made to survive kills: state is written whole, and a reload goes on where it stopped."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus
from sklearn.exceptions import ConvergenceWarning

from wage_tf import files
from wage_tf.errors import UserError
from wage_tf.search.candidates import Candidates, Values

if TYPE_CHECKING:
    from wage_tf.search.directory import SearchConfig, SearchDirectory

NAMES = ("grid", "random", "bayesian", "hyperband")
OBJECTIVE = "score"
_REFERENCE_WIDTH = 8
_DEFAULT_TRIALS = 20
_PROPOSALS = 100
_COLLISIONS = 1000
_SAMPLE = 4096
_NEVER = 10**9


class _Durable:
    """Writes KerasTuner's files atomically, and runs again what was running when the search was killed."""

    def save(self) -> None:
        files.write_json(Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial: Trial) -> None:
        files.write_json(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", trial.get_state())

    def reload(self) -> None:
        for path in Path(self._project_dir).glob("trial_*/trial.json"):
            with _naming_damage(path):
                Trial.from_state(json.loads(path.read_text()))
        with _naming_damage(Path(self._get_oracle_fname())):
            super().reload()
        for trial_id, trial in sorted(self.trials.items()):
            ended = [] if trial.status == TrialStatus.RUNNING else self.end_order
            for order in (self.start_order, ended):
                if trial_id not in order:
                    order.append(trial_id)
        running = (trial_id for trial_id, trial in self.trials.items() if trial.status == TrialStatus.RUNNING)
        self._retry_queue = sorted(running, reverse=True)


class _WithinBudget:
    """Draws again what `affords` says cannot be paid for; after 100 times, takes what comes."""

    def _random_values(self) -> dict[str, object] | None:
        for _ in range(_PROPOSALS):
            values = super()._random_values()
            if values is None or self.affords(values):
                break
        return values


class _ReferenceFirst:
    """Starts with the pattern nearest to 8-8-8-8, so that every search holds what it is compared with."""

    def populate_space(self, trial_id: str) -> dict[str, object]:
        if not self.start_order:
            return {"status": TrialStatus.RUNNING, "values": dict(self.reference)}
        return super().populate_space(trial_id)


class GridOracle(_Durable, keras_tuner.oracles.GridSearchOracle):
    """Every pattern in turn.

    KerasTuner's own loses its place on a reload, so it is found again from the trials; and it takes the pattern after
    that of a trial when that has ended, in case the trial adds dimensions, which none does here: workers would wait.
    """

    def populate_space(self, trial_id: str) -> dict[str, object]:
        response = super().populate_space(trial_id)
        if response["status"] == TrialStatus.RUNNING:
            self._populate_next.append(trial_id)
        return response

    def set_state(self, state: dict[str, object]) -> None:
        super().set_state(state)
        by_values = functools.cmp_to_key(
            lambda a, b: self._compare(self.trials[a].hyperparameters.values, self.trials[b].hyperparameters.values)
        )
        for trial_id in sorted(self.trials, key=by_values):
            self._ordered_ids.insert(trial_id)
        self._populate_next = sorted(self.trials)


class RandomOracle(_ReferenceFirst, _WithinBudget, _Durable, keras_tuner.oracles.RandomSearchOracle):
    """Patterns at random, none twice."""


class BayesianOracle(_ReferenceFirst, _WithinBudget, _Durable, keras_tuner.oracles.BayesianOptimizationOracle):
    """Patterns by a Gaussian process, none twice; a resumed search chooses as an uninterrupted one would have.

    KerasTuner looks for the best lower confidence bound by gradients between the patterns, which takes seconds and
    often ends at one that was tried; here its process is asked about patterns themselves, all or some at random.
    """

    def populate_space(self, trial_id: str) -> dict[str, object]:
        done = sum(trial.status == TrialStatus.COMPLETED for trial in self.trials.values())
        if done < self.num_initial_points:
            return super().populate_space(trial_id)
        untried = [values for values in self._sample() if not self._duplicate(values)]
        if not untried:
            return self._random_populate_space()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.gpr.fit(*self._vectorize_trials())
        space = self.hyperparameters.space
        points = [[choice.value_to_prob(values[choice.name]) for choice in space] for values in untried]
        mean, deviation = self.gpr.predict(np.array(points), return_std=True)
        best = [untried[place] for place in np.argsort(mean - self.beta * deviation, kind="stable")[:_PROPOSALS]]
        return {"status": TrialStatus.RUNNING, "values": next(filter(self.affords, best), best[0])}

    def _sample(self) -> list[dict[str, str]]:
        """All patterns of a small space, some of a large one."""
        space = {choice.name: choice.values for choice in self.hyperparameters.space}
        if math.prod(map(len, space.values())) <= _SAMPLE:
            return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
        random = np.random.RandomState(self.seed + len(self.trials))
        columns = [random.choice(values, _SAMPLE) for values in space.values()]
        return [dict(zip(space, map(str, values), strict=True)) for values in zip(*columns, strict=True)]


class HyperbandOracle(_WithinBudget, _Durable, keras_tuner.oracles.HyperbandOracle):
    """Many patterns for few epochs, the best of them for more."""

    def planned_trials(self, patterns: int) -> int:
        """The number of trials it runs in a space of so many patterns: a bracket that lacks patterns is not ended."""
        brackets = range(self._get_num_brackets())[::-1]
        planned, most = 0, self.max_trials or math.inf
        for bracket in itertools.cycle(brackets) if self.max_trials else brackets:
            new = self._get_size(bracket, 0)
            if new > patterns or planned >= most:
                return min(planned + patterns, most)
            patterns -= new
            planned += sum(self._get_size(bracket, turn) for turn in range(bracket + 1))
        return planned


def check_space(config: SearchConfig, candidates: Candidates) -> None:
    """Checks that there are candidates enough for hyperband to train any of them to the end.

    Raises:
        UserError: If there are too few.
    """
    if config.oracle != "hyperband":
        return
    oracle = HyperbandOracle(keras_tuner.Objective(OBJECTIVE, "min"), max_epochs=config.epochs)
    needed = max(2, oracle._get_size(oracle._get_num_brackets() - 1, 0))
    if candidates.size < needed:
        raise UserError(
            f"--oracle hyperband: for --epochs {config.epochs} it first compares {needed} patterns, the candidates "
            f"give {candidates.size}: give more candidates, or use --oracle grid"
        )


def create(
    config: SearchConfig,
    candidates: Candidates,
    directory: SearchDirectory,
    affords: Callable[[Values], bool] = lambda values: True,
    reload: bool = True,
) -> keras_tuner.Oracle:
    """Makes the oracle of a search.

    Args:
        config: The search.
        candidates: Its space.
        directory: Its directory.
        affords: Whether a choice is cheap enough to be trained. Others are proposed only where 100 draws find no
            better, but by `grid`, which takes all in turn.
        reload: Whether to go on from the trials that the directory holds.

    Raises:
        UserError: If the state in the directory is damaged.
    """
    choices = {name: values for name, values in candidates.choices().items() if len(values) > 1}
    space = keras_tuner.HyperParameters()
    for name, values in choices.items():
        space.Choice(name, list(values))
    common = {
        "objective": keras_tuner.Objective(OBJECTIVE, "min"),
        "hyperparameters": space,
        "seed": config.seed + 1,
        "max_consecutive_failed_trials": _NEVER,
    }
    trials = config.max_trials or _DEFAULT_TRIALS
    if config.oracle == "grid":
        oracle = GridOracle(max_trials=config.max_trials, **common)
    elif config.oracle == "random":
        oracle = RandomOracle(max_trials=trials, **common)
    elif config.oracle == "bayesian":
        first = max(3, min(3 * len(choices), trials // 3))
        oracle = BayesianOracle(max_trials=trials, num_initial_points=first, **common)
    else:
        iterations = None if config.max_trials else 1
        oracle = HyperbandOracle(max_epochs=config.epochs, hyperband_iterations=iterations, **common)
        oracle.max_trials = config.max_trials
    oracle.verbose = 0
    oracle._max_collisions = _COLLISIONS
    oracle.affords = affords
    oracle.reference = _reference(candidates, affords)
    oracle._set_project_dir(str(directory.path), directory.oracle.name)
    if reload and Path(oracle._get_oracle_fname()).exists():
        oracle.reload()
    return oracle


def planned_trials(oracle: keras_tuner.Oracle, candidates: Candidates) -> int:
    """The number of trials that a search will run, if none is found twice and all of them can be trained."""
    if isinstance(oracle, HyperbandOracle):
        return oracle.planned_trials(candidates.size)
    return min(oracle.max_trials or candidates.size, candidates.size)


def choice_of(trial: Trial) -> dict[str, str]:
    """What a trial has in every dimension, without hyperband's own entries."""
    return {name: value for name, value in trial.hyperparameters.values.items() if not name.startswith("tuner/")}


def _reference(candidates: Candidates, affords: Callable[[Values], bool]) -> dict[str, str]:
    """The choice nearest to 8 bits in the dimensions that have one; if it costs too much, to 7, 6, ... bits."""
    nearest = (candidates.nearest_to(width) for width in range(_REFERENCE_WIDTH, 0, -1))
    found = next(filter(affords, nearest), candidates.narrowest())
    return {name: found[name] for name, values in candidates.choices().items() if len(values) > 1}


@contextlib.contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    """Turns what reading a file of KerasTuner's raises where its content is damaged into a UserError."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        cause = error.__cause__ or error
        reason = f"{type(cause).__name__}: {cause}".partition("\n")[0]
        raise UserError(f"{path} is damaged ({reason}): restore it, or start anew in another --run-dir") from error
