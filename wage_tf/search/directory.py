"""A search's directory: what was asked, every trial, and what came out.

search.json   the SearchConfig                oracle/       KerasTuner's state; trial_N/ with each trial's record.json
trials.csv    a row per trial                 pareto.csv, pareto.png, best.json, report.md   the results
tests.json    test errors measured so far     tensorboard/  HParams, curves and histograms
workers/      logs of the worker processes
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from wage_tf import files
from wage_tf.errors import UserError
from wage_tf.search import records
from wage_tf.search.records import TrialRecord

_MAY_CHANGE_ON_RESUME = {"data_dir", "max_trials", "keep"}


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """Everything that decides a search.

    Attributes:
        dataset: Name, or path of a folder of images.
        data_dir: Directory of TensorFlow Datasets; None for its default.
        image_size: Side to which the images of a folder are scaled and cropped; None for as they are.
        limit: Number of training images; None for all that validation leaves.
        validation: Number of training images held out to compare patterns by.
        model: Name of the network.
        width: Multiplier of the hidden layers' units.
        widths: Candidate widths of each operand.
        per_layer: Operands that may differ from layer to layer.
        learning_rates: Candidates of η at k_G = 8; empty for the recipe's schedule.
        oracle: `"grid"`, `"random"`, `"bayesian"` or `"hyperband"`.
        max_trials: Most trials; None for the oracle's own number.
        epochs: Epochs of a trial, the largest number with hyperband.
        executions: Trainings of a pattern, each with a seed of its own.
        seed: Seed of the oracle and of the first training.
        cost: Measure of cost.
        cost_of: `"inference"` or `"training"`.
        cost_weight: Points of error that the cost of 8-8-8-8 is worth.
        max_cost: Largest cost as a share of that of 8-8-8-8, or None.
        max_error: Largest validation error in percent, or None.
        keep: `"front"` or `"all"`: whose trained models stay.
        histogram_freq: Epochs between histograms; 0 for none.
    """

    dataset: str
    data_dir: str | None
    image_size: int | None
    limit: int | None
    validation: int
    model: str
    width: float
    widths: Mapping[str, Sequence[str]]
    per_layer: Sequence[str]
    learning_rates: Sequence[float]
    oracle: str
    max_trials: int | None
    epochs: int
    executions: int
    seed: int
    cost: str
    cost_of: str
    cost_weight: float
    max_cost: float | None
    max_error: float | None
    keep: str
    histogram_freq: int

    def as_json(self) -> dict[str, object]:
        """The configuration as JSON gives it back: lists for tuples."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


class SearchDirectory:
    """The files of one search.

    Args:
        path: The directory; made by `create`.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.oracle = self.path / "oracle"
        self.workers = self.path / "workers"
        self.tensorboard = self.path / "tensorboard"
        self.trials = self.path / "trials.csv"
        self.pareto = self.path / "pareto.csv"
        self.picture = self.path / "pareto.png"
        self.best = self.path / "best.json"
        self.report = self.path / "report.md"
        self.tests = self.path / "tests.json"
        self._config = self.path / "search.json"

    def holds_a_search(self) -> bool:
        """Whether a search was started here."""
        return self._config.exists()

    def create(self, config: SearchConfig) -> None:
        """Makes the directory for a new search.

        Raises:
            UserError: If it holds another search or other files, or cannot be written.
        """
        if self.holds_a_search():
            raise UserError(
                f"run directory {self.path} already holds a search: continue it with --resume, "
                "or give another --run-dir"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if any(not files.is_unfinished(path) for path in self.path.iterdir()):
                raise UserError(f"run directory {self.path} is not empty and holds no search: give another --run-dir")
            self.oracle.mkdir()
            files.write_json(self._config, config.as_json())
        except OSError as error:
            raise UserError(f"run directory {self.path} cannot be written: {error.strerror}") from error

    def read_config(self) -> SearchConfig:
        """Reads what was asked, lists for tuples.

        Raises:
            UserError: If there is no search here, or its configuration is damaged.
        """
        try:
            return SearchConfig(**json.loads(self._config.read_text()))
        except FileNotFoundError:
            raise UserError(f"run directory {self.path} holds no search (no search.json)") from None
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{self._config} is damaged or of another version ({error}): restore it, or give another --run-dir"
            ) from error

    def check_same_search(self, config: SearchConfig) -> None:
        """Checks that `config` is that of the search that is here.

        Raises:
            UserError: Names the first setting that differs, or says that there is no search.
        """
        earlier = self.read_config().as_json()
        for name, value in config.as_json().items():
            if name not in _MAY_CHANGE_ON_RESUME and value != earlier[name]:
                raise UserError(
                    f"the search in {self.path} was started with {name.replace('_', '-')} {earlier[name]}, "
                    f"now it is {value}: give the same arguments, or another --run-dir"
                )

    def trial(self, trial_id: str) -> Path:
        """The folder of a trial."""
        return self.oracle / f"trial_{trial_id}"

    def record(self, trial_id: str) -> TrialRecord | None:
        """Returns what a trial found; None if it has not ended.

        Raises:
            UserError: If its record is damaged.
        """
        path = self.trial(trial_id) / "record.json"
        try:
            return records.from_json(json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UserError(
                f"{path} is damaged or of another version ({error}): remove it to go on without this trial"
            ) from error

    def write_record(self, record: TrialRecord) -> None:
        """Writes what a trial found."""
        folder = self.trial(record.trial)
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / "record.json", dataclasses.asdict(record))

    def records(self) -> list[TrialRecord]:
        """Returns the records of all trials that have ended, in the order of their numbers."""
        names = (path.parent.name.removeprefix("trial_") for path in self.oracle.glob("trial_*/record.json"))
        found = (self.record(name) for name in sorted(names, key=int))
        return [record for record in found if record is not None]

    def test_errors(self) -> dict[str, float]:
        """Returns the test errors that have been measured, percent, by trial.

        Raises:
            UserError: If their file is damaged.
        """
        try:
            found = json.loads(self.tests.read_text())
            return {trial_id: float(error) for trial_id, error in found.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{self.tests} is damaged ({error}): remove it to measure them again") from error

    def write_test_errors(self, errors: Mapping[str, float]) -> None:
        """Writes the test errors that have been measured."""
        files.write_json(self.tests, errors)

    def model(self, trial_id: str) -> Path:
        """The trained model of a trial."""
        return self.trial(trial_id) / "model.keras"
