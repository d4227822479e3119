"""One trial: a pattern trained as often as asked, and what came out of it."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from wage_tf import costs, files, models, schedules  # type: ignore[attr-defined]
from wage_tf.bits import NetworkBits
from wage_tf.callbacks import QuantizationHistograms
from wage_tf.datasets import Dataset
from wage_tf.errors import UserError
from wage_tf.runs import checkpoints, training
from wage_tf.runs.checkpoints import State
from wage_tf.runs.config import Data, RunConfig
from wage_tf.runs.directory import RunDirectory
from wage_tf.runs.guards import Diverged, StopOnNonFinite
from wage_tf.runs.recorder import RunRecorder
from wage_tf.schedules import Schedule
from wage_tf.search import tensorboard
from wage_tf.search.candidates import Candidates, Pattern, Values, blocks_of
from wage_tf.search.directory import SearchConfig, SearchDirectory
from wage_tf.search.guards import CannotTrain, StopOnClipping, StopOnStandstill
from wage_tf.search.records import COMPLETED, FAILED, TOO_COSTLY, TrialRecord
from wage_tf.search.scoring import Scoring

REFERENCE = "8-8-8-8"
_LARGEST_VALIDATION = 10_000
_VALIDATION_SHARE = 5
_PROBE = 128


def validation_size(dataset: Dataset) -> int:
    """The number of training images held out where the user gives none: a fifth of them, 10,000 at most."""
    return min(_LARGEST_VALIDATION, max(1, dataset.train_size // _VALIDATION_SHARE))


class Study:
    """What all trials of a search share: data, candidates, the reference's costs and the score.

    Args:
        config: The search.
        dataset: Its data, all training images.
        callbacks: Further callbacks of every training.

    Raises:
        UserError: If the network cannot be built on these images, the engine cannot train at one of the learning
            rates, or no candidate keeps `max_cost`.
    """

    def __init__(self, config: SearchConfig, dataset: Dataset, callbacks: Sequence[keras.callbacks.Callback] = ()):
        if models.reconstructs(config.model):
            raise UserError(f"--model {config.model}: a search compares how networks classify, and it has no classes")
        if config.engine == "integer":
            for rate in (*config.learning_rates, *(rate for _, rate in config.schedule or ())):
                schedules.log2_of_rate(rate)
        self.config = config
        self.dataset = dataset
        self.callbacks = callbacks
        split = dataset.split_validation(config.validation)
        if config.limit is not None:
            split = dataclasses.replace(split, train=split.train.head(min(config.limit, split.train_size)))
        self.split = split
        self.data = Data.of(split)
        reference = training.prepare(self.run_config(Pattern(REFERENCE, NetworkBits.parse(REFERENCE), None)), split)
        self._reference = costs.model_costs(reference)
        self._costs: dict[str, dict[str, float]] = {}
        blocks = blocks_of(reference)
        self.candidates = Candidates(config.widths, config.per_layer, blocks, config.learning_rates)
        widest = self.candidates.pattern(self.candidates.widest())
        self.scoring = Scoring(
            config.cost,
            config.cost_of,
            config.cost_weight,
            config.max_cost,
            config.max_error,
            highest_cost=self.costs_of(widest)[f"{config.cost}_{config.cost_of}"],
        )
        narrowest = self.candidates.pattern(self.candidates.narrowest())
        least = self.costs_of(narrowest)[self.scoring.key]
        if not self.scoring.affords(least):
            raise UserError(
                f"--max-cost {config.max_cost:g}: the cheapest of the candidates, {narrowest.name}, costs {least:.3g} "
                f"of 8-8-8-8's {self.scoring.cost_label}: allow more, or give narrower candidates"
            )

    @functools.cached_property
    def chance(self) -> float:
        """Validation error of always answering the commonest class, percent."""
        labels = [np.argmax(y, axis=-1) for _, y in self.split.test_batches(500)]
        return 100.0 * (1.0 - np.bincount(np.concatenate(labels)).max() / self.split.test_size)

    def costs_of(self, pattern: Pattern) -> dict[str, float]:
        """Every measure of cost of a pattern, as a share of the 8-8-8-8 network's."""
        if pattern.name not in self._costs:
            self._costs[pattern.name] = costs.relative(costs.model_costs(self._untrained(pattern)), self._reference)
        return self._costs[pattern.name]

    def _untrained(self, pattern: Pattern) -> keras.Model:
        """The network of a pattern, all weights zero: drawing them would take most of the time."""
        config = self.run_config(pattern)
        return training.build(config, self.dataset.input_shape, self.dataset.num_classes, kernel_initializer="zeros")

    def affords(self, values: Values) -> bool:
        """Whether the pattern of a choice keeps `max_cost`, which is known without training it."""
        if self.config.max_cost is None:
            return True
        return self.scoring.affords(self.costs_of(self.candidates.pattern(values))[self.scoring.key])

    def run_config(self, pattern: Pattern, epochs: int | None = None, execution: int = 0) -> RunConfig:
        """The training of a pattern, η scaled with k_G."""
        config = self.config
        return config.training(
            self.data,
            pattern.bits,
            limit=config.limit,
            epochs=epochs or config.epochs,
            schedule=self.schedule_of(pattern),
            engine=config.engine,
            seed=config.seed + execution,
            histogram_freq=config.histogram_freq,
        )

    def schedule_of(self, pattern: Pattern) -> Schedule:
        """The trials' schedule at the pattern's k_G, its first η replaced by the pattern's where it has one."""
        recipe = self.config.recipe
        if self.config.schedule is not None:
            recipe = dataclasses.replace(recipe, schedule=self.config.schedule)
        schedule = recipe.schedule_for(pattern.bits)
        if pattern.learning_rate is None:
            return schedule
        return schedules.scaled(schedule, pattern.learning_rate / recipe.schedule[0][1])


def run(
    study: Study,
    directory: SearchDirectory,
    trial_id: str,
    values: Values,
    epochs: int,
    continued: str | None = None,
    keep_state: bool = False,
) -> TrialRecord:
    """Trains a pattern, and writes what came of it into the trial's folder.

    A pattern that cannot be trained, for whatever reason, gives a failed record scored as chance. One that breaks
    `max_cost` is not trained, nor is one that continues a failed trial: it fails for the same reason.

    Args:
        study: What the trials share.
        directory: The search's directory.
        trial_id: Number of the trial.
        values: What the oracle chose.
        epochs: Epochs to train for.
        continued: Number of the trial that this one continues, from the beginning where its state is gone; None for a
            new training.
        keep_state: Whether another trial may continue this one.

    Raises:
        OSError: If a file cannot be read or written, the disk being full for instance. The trial has no record then.
        UserError: If the data or the search's files are at fault, likewise.
    """
    started = time.monotonic()
    files.remove_unfinished(directory.trial(trial_id))
    pattern = study.candidates.pattern(values)
    shares = study.costs_of(pattern)
    cost = shares[study.scoring.key]
    before = None if continued is None else directory.record(continued)
    found = _Trainings()
    if not study.scoring.affords(cost):
        found.status, found.reason = TOO_COSTLY, f"costs {cost:.3g} of 8-8-8-8, more than {study.scoring.max_cost:g}"
    elif before is not None and before.status == FAILED:
        found.status, found.reason = FAILED, before.reason
    else:
        try:
            for execution in range(study.config.executions):
                state = None if continued is None else _state(directory.trial(continued), execution)
                _train(study, directory, trial_id, pattern, epochs, execution, state, keep_state, found)
        except (OSError, UserError):
            raise
        except Exception as failure:
            found.status, found.reason = FAILED, _reason(failure)
    record = _record(
        study,
        trial_id,
        values,
        shares,
        epochs=epochs,
        seconds=time.monotonic() - started,
        **dataclasses.asdict(found),
    )
    tensorboard.write_trial(directory.tensorboard, record, study.candidates.choices())
    directory.write_record(record)
    return record


def failure(study: Study, trial_id: str, values: Values, reason: str) -> TrialRecord:
    """Returns the record of a trial that could not be run."""
    shares = study.costs_of(study.candidates.pattern(values))
    nothing = {"epochs": 0, "errors": (), "seconds": 0.0, "training_seconds": 0.0}
    return _record(study, trial_id, values, shares, status=FAILED, reason=reason, **nothing)


def _record(study: Study, trial_id: str, values: Values, shares: dict[str, float], **found: Any) -> TrialRecord:
    """Returns a trial's record with its pattern, cost and score; what did not train is scored as chance."""
    pattern = study.candidates.pattern(values)
    cost = shares[study.scoring.key]
    error = statistics.fmean(found["errors"]) if found["status"] == COMPLETED else study.chance
    return TrialRecord(
        trial=trial_id,
        values=dict(values),
        pattern=pattern.name,
        bits=pattern.bits,
        schedule=study.schedule_of(pattern),
        costs=shares,
        cost=cost,
        score=study.scoring.score(error, cost),
        **found,
    )


@dataclasses.dataclass
class _Trainings:
    """What the trainings of a trial have given so far; the names are those of a record."""

    status: str = COMPLETED
    reason: str = ""
    errors: tuple[float, ...] = ()
    training_seconds: float = 0.0


class _Recorder(RunRecorder):
    """Records metrics.csv alone: a trial is short enough to be run again from its beginning."""

    def save(self) -> None:
        pass


def _train(
    study: Study,
    directory: SearchDirectory,
    trial_id: str,
    pattern: Pattern,
    epochs: int,
    execution: int,
    state: State | None,
    keep_state: bool,
    found: _Trainings,
) -> None:
    """Trains once, adds what came of it to `found`, and keeps the model with the smallest error so far."""
    keras.backend.clear_session(free_memory=False)
    started = time.monotonic()
    config = study.run_config(pattern, epochs, execution)
    try:
        model = training.prepare(config, study.split)
    except UserError as error:
        raise CannotTrain(str(error)) from error
    folder = directory.trial(trial_id) / f"execution_{execution}"
    folder.mkdir(parents=True, exist_ok=True)
    steps = study.split.steps_per_epoch(config.batch_size)
    recorder = _Recorder(RunDirectory(folder), steps, state=state)
    probe = study.split.probe_batch(min(config.batch_size, _PROBE), config.augmentation)
    callbacks = [StopOnNonFinite(), StopOnClipping(*probe), StopOnStandstill(study.chance, epochs), *study.callbacks]
    if config.histogram_freq and execution == 0:
        logs = directory.tensorboard / f"trial_{trial_id}" / "quantized"
        callbacks.append(QuantizationHistograms(logs, *probe, config.histogram_freq))
    try:
        training.fit(model, config, study.split, recorder, callbacks, state, verbose=0)
    finally:
        found.training_seconds += time.monotonic() - started
    if keep_state:
        checkpoints.save(folder, State.of(model, recorder.step, recorder.rows, recorder.seconds))
    found.errors += (recorder.rows[-1]["test_error"],)
    if found.errors[-1] == min(found.errors):
        with files.replacing(directory.model(trial_id)) as path:
            model.save(path)


def _state(folder: Path, execution: int) -> State | None:
    """The state that a trial ended in; None if it is gone or damaged."""
    return checkpoints.load_latest(folder / f"execution_{execution}", warnings.warn)


def _reason(failure: Exception) -> str:
    """Why a training failed, in one line."""
    if isinstance(failure, (Diverged, CannotTrain)):
        return str(failure)
    lines = str(failure).strip().splitlines()
    return f"{type(failure).__name__}: {lines[0][:200] if lines else 'no message'}"
