"""The oracles of a search by name, and how one is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import keras_tuner

from wage_tf.errors import UserError
from wage_tf.search.candidates import Candidates, Values
from wage_tf.search.kerastuner import (
    OBJECTIVE,
    BayesianOracle,
    GridOracle,
    HyperbandOracle,
    RandomOracle,
    SearchOracle,
    Trial,
)

if TYPE_CHECKING:
    from wage_tf.search.directory import SearchConfig, SearchDirectory

ORACLES: dict[str, type[SearchOracle]] = {
    "grid": GridOracle,
    "random": RandomOracle,
    "bayesian": BayesianOracle,
    "hyperband": HyperbandOracle,
}
NAMES = tuple(ORACLES)
_REFERENCE_BITS = 8
_NEVER = 10**9


def check_space(config: SearchConfig, candidates: Candidates) -> None:
    """Checks that there are candidates enough for the oracle to begin.

    Raises:
        UserError: If there are too few.
    """
    needed = ORACLES[config.oracle].fewest_patterns(config.epochs)
    if candidates.size < needed:
        raise UserError(
            f"--oracle {config.oracle}: for --epochs {config.epochs} it first compares {needed} patterns, the "
            f"candidates give {candidates.size}: give more candidates, or use --oracle grid"
        )


def create(
    config: SearchConfig,
    candidates: Candidates,
    directory: SearchDirectory,
    affords: Callable[[Values], bool] = lambda values: True,
    reload: bool = True,
) -> SearchOracle:
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
    space = keras_tuner.HyperParameters()
    for name, values in candidates.choices().items():
        if len(values) > 1:
            space.Choice(name, list(values))
    oracle = ORACLES[config.oracle].of(
        config.max_trials,
        config.epochs,
        objective=keras_tuner.Objective(OBJECTIVE, "min"),
        hyperparameters=space,
        seed=config.seed + 1,
        max_consecutive_failed_trials=_NEVER,
    )
    oracle.open(directory.oracle, affords, _reference(candidates, affords), reload)
    return oracle


def choice_of(trial: Trial) -> dict[str, str]:
    """What a trial has in every dimension, without hyperband's own entries."""
    return {name: value for name, value in trial.hyperparameters.values.items() if not name.startswith("tuner/")}


def _reference(candidates: Candidates, affords: Callable[[Values], bool]) -> dict[str, str]:
    """The choice nearest to 8 bits in the dimensions that have one; if it costs too much, to 7, 6, ... bits."""
    nearest = (candidates.nearest_to(bits) for bits in range(_REFERENCE_BITS, 0, -1))
    found = next(filter(affords, nearest), candidates.narrowest())
    return {name: found[name] for name, values in candidates.choices().items() if len(values) > 1}
