"""A search's directory: what was asked, every trial, and what came out.

search.json   the SearchConfig                oracle/       KerasTuner's state; trial_N/ with each trial's record.json
trials.csv    a row per trial                 pareto.csv, pareto.png, best.json, report.md   the results
tests.json    test errors measured so far     tensorboard/  HParams, curves and histograms
workers/      logs of the worker processes
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any, Literal

import pydantic

from wage_tf.bits import NetworkBits
from wage_tf.datasets.recipe import Recipe
from wage_tf.errors import UserError
from wage_tf.runs import documents
from wage_tf.runs.config import Data, RunConfig, resolve
from wage_tf.runs.directory import make_empty
from wage_tf.runs.documents import Count, Document, Etas, Natural, PositiveFloat, Rate, Text, WidthMultiplier, Words
from wage_tf.search import oracles
from wage_tf.search.records import TrialNumber, TrialRecord

_MAY_CHANGE_ON_RESUME = ("data_dir", "max_trials", "keep")
_TRIAL = re.compile(r"trial_([0-9]+)")
_TEST_ERRORS = pydantic.TypeAdapter(dict[TrialNumber, pydantic.FiniteFloat], config=pydantic.ConfigDict(strict=True))


class SearchConfig(Document):
    """Everything that decides a search.

    Attributes:
        dataset: Name, or path of a folder of images.
        data_dir: Directory of TensorFlow Datasets; None for its default.
        image_size: Side to which the images of a folder are scaled and cropped; None for as they are.
        limit: Number of training images; None for all that validation leaves.
        validation: Number of training images held out to compare patterns by.
        data: What the images were.
        recipe: How the data set is trained.
        model: Name of the network.
        width: Multiplier of the hidden layers' units.
        widths: Candidate widths of each operand.
        per_layer: Operands that may differ from layer to layer.
        learning_rates: Candidates of η at k_G = 8; empty for the schedule's.
        schedule: That of the trials at k_G = 8; None for the recipe's.
        engine: What computes the steps; see `RunConfig`.
        oracle: A name in `oracles.ORACLES`.
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

    dataset: Text
    data_dir: Text | None
    image_size: Count | None
    limit: Count | None
    validation: Count
    data: Data
    recipe: Recipe
    model: Text
    width: WidthMultiplier
    widths: dict[str, tuple[Words, ...]]
    per_layer: tuple[Words, ...]
    learning_rates: tuple[Rate, ...]
    schedule: Etas | None
    engine: Literal["keras", "integer"]
    oracle: Literal[oracles.NAMES]  # type: ignore[valid-type]
    max_trials: Count | None
    epochs: Count
    executions: Count
    seed: Natural
    cost: Literal["energy", "memory", "area"]
    cost_of: Literal["inference", "training"]
    cost_weight: PositiveFloat
    max_cost: PositiveFloat | None
    max_error: PositiveFloat | None
    keep: Literal["front", "all"]
    histogram_freq: Natural

    def continuing(self, earlier: SearchConfig, model: bool, epochs: bool) -> SearchConfig:
        """Returns the configuration that goes on with an earlier search: its recipe is that search's, not today's.

        Args:
            earlier: The search's configuration.
            model: Whether the user decides the network.
            epochs: Whether the user decides the epochs.
        """
        kept: dict[str, Any] = {"recipe": earlier.recipe}
        kept |= {} if model else {"model": earlier.model}
        kept |= {} if epochs else {"epochs": earlier.epochs}
        return self.model_copy(update=kept)

    def training(self, data: Data, bits: NetworkBits, **chosen: object) -> RunConfig:
        """The training of a pattern by the search's recipe, with its network, on `data`; `chosen` as in `resolve`."""
        same = {name: getattr(self, name) for name in ("dataset", "data_dir", "image_size", "model", "width")}
        return resolve(data, self.recipe, bits=bits, **same, **chosen)


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
        make_empty(self.path, "search")
        self.oracle.mkdir()
        config.write(self._config)

    def read_config(self) -> SearchConfig:
        """Reads what was asked, lists for tuples.

        Raises:
            UserError: If there is no search here, or its configuration is damaged.
        """
        try:
            return SearchConfig.read(self._config, "restore it, or give another --run-dir")
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"run directory {self.path} holds no search (no search.json)") from None

    def check_same_search(self, config: SearchConfig) -> None:
        """Checks that `config` is that of the search that is here.

        Raises:
            UserError: Names the first setting that differs, or says that there is no search.
        """
        earlier = self.read_config()
        difference = config.data.difference_from(earlier.data)
        if difference is not None and config.dataset == earlier.dataset:
            raise UserError(
                f"{config.dataset} is not the data that the search in {self.path} was started with: {difference}: "
                "restore it, or give another --run-dir"
            )
        if differs := config.first_difference(earlier, _MAY_CHANGE_ON_RESUME):
            name, now, before = differs
            raise UserError(
                f"the search in {self.path} was started with {name} {before}, now it is {now}: "
                "give the same arguments, or another --run-dir"
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
            record = TrialRecord.read(path, "remove it to go on without this trial")
        except FileNotFoundError:
            return None
        if record.trial != trial_id:
            raise UserError(f"{path} is of trial {record.trial!r}: remove it to go on without this trial")
        return record

    def write_record(self, record: TrialRecord) -> None:
        """Writes what a trial found."""
        folder = self.trial(record.trial)
        folder.mkdir(parents=True, exist_ok=True)
        record.write(folder / "record.json")

    def records(self) -> list[TrialRecord]:
        """Returns the records of all trials that have ended, in the order of their numbers.

        Folders that are no trial's, such as a copy's, are passed over with a warning.
        """
        numbers = []
        for path in self.oracle.glob("trial_*/record.json"):
            number = _TRIAL.fullmatch(path.parent.name)
            if number is None:
                warnings.warn(f"{path.parent} is not a folder of the search: it is left out", stacklevel=2)
            else:
                numbers.append(number[1])
        found = (self.record(number) for number in sorted(numbers, key=int))
        return [record for record in found if record is not None]

    def test_errors(self) -> dict[str, float]:
        """Returns the test errors that have been measured, percent, by trial.

        Raises:
            UserError: If their file is damaged.
        """
        try:
            content = self.tests.read_bytes()
        except FileNotFoundError:
            return {}
        return documents.parse(_TEST_ERRORS, self.tests, content, "remove it to measure them again")

    def model(self, trial_id: str) -> Path:
        """The trained model of a trial."""
        return self.trial(trial_id) / "model.keras"
