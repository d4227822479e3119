"""best.json, and the way from a search into a full training."""

from __future__ import annotations

from pathlib import Path

from wage_tf.errors import UserError
from wage_tf.runs.config import RunConfig
from wage_tf.runs.documents import Document, Natural, Words
from wage_tf.search.directory import SearchConfig, SearchDirectory
from wage_tf.search.records import TrialRecord, completed
from wage_tf.search.scoring import Scoring


class Best(Document):
    """The best trial of a search.

    Attributes:
        config: The full training of its pattern.
        pattern: Name of the pattern.
        trial: Number of the trial.
        validation_error: Mean over its trainings, percent.
        validation_error_spread: Standard deviation; None with one training.
        test_error: Percent; None where it was not measured.
        cost: As a share of the 8-8-8-8 network's.
        costs: Every measure of it.
        score: What the search made small.
        formula: How the score is computed.
        keeps_constraint: Whether it keeps `max_cost` or `max_error`.
        epochs: Epochs of the trial.
        seed: The search's.
        executions: Trainings of the trial.
    """

    config: RunConfig
    pattern: Words
    trial: Words
    validation_error: float
    validation_error_spread: float | None
    test_error: float | None
    cost: float
    costs: dict[str, float]
    score: float
    formula: Words
    keeps_constraint: bool
    epochs: Natural
    seed: Natural
    executions: Natural


def write(
    directory: SearchDirectory, config: SearchConfig, scoring: Scoring, best: TrialRecord, test_error: float | None
) -> None:
    """Writes best.json."""
    Best(
        config=full_training(config, best),
        pattern=best.pattern,
        trial=best.trial,
        validation_error=best.error,
        validation_error_spread=best.spread,
        test_error=test_error,
        cost=best.cost,
        costs=best.costs,
        score=best.score,
        formula=scoring.formula,
        keeps_constraint=scoring.accepts(best.error, best.cost),
        epochs=best.epochs,
        seed=config.seed,
        executions=config.executions,
    ).write(directory.best)


def full_training(config: SearchConfig, record: TrialRecord) -> RunConfig:
    """The training of a trial's pattern by the recipe, on all images."""
    return config.training(config.data, record.bits, schedule=record.schedule if config.learning_rates else None)


def training_of(path: str | Path, pattern: str | None = None) -> RunConfig:
    """Returns the full training of a pattern that a search found.

    Args:
        path: A search's directory, or its best.json.
        pattern: The pattern as trials.csv names it; None for the best one.

    Raises:
        UserError: If there is no such file, search or pattern, or it is damaged.
    """
    path = Path(path)
    if pattern is None:
        file = path / "best.json" if path.is_dir() else path
        try:
            return Best.read(file, "give the best.json of a search, or its directory").config
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"there is no {file}: give a search's directory or its best.json") from None
    directory = SearchDirectory(path if path.is_dir() else path.parent)
    config = directory.read_config()
    named = pattern.strip().replace(",", "-")
    records = [record for record in completed(directory.records()) if record.pattern == named]
    if not records:
        raise UserError(f"pattern {pattern}: no completed trial of that name in {directory.trials}")
    return full_training(config, min(records, key=lambda record: (-record.epochs, record.score)))
