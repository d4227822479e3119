"""One trial: a pattern trained as often as asked, and what came out of it."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from wage_tf import checkpoints, costs, datasets, files, recipes, training
from wage_tf.callbacks import Diverged, QuantizationHistograms, RunRecorder, StopOnNonFinite
from wage_tf.checkpoints import State
from wage_tf.errors import UserError
from wage_tf.runs import RunConfig, RunDirectory
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


def validation_size(dataset: datasets.Dataset) -> int:
    """The number of training images held out where the user gives none: a fifth of them, 10,000 at most."""
    return min(_LARGEST_VALIDATION, max(1, dataset.train_size // _VALIDATION_SHARE))


class Study:
    """What all trials of a search share: data, candidates, the reference's costs and the score.

    Args:
        config: The search.
        dataset: Its data, all training images.
        build: `models.build`, or a function of the same arguments.

    Raises:
        UserError: If the network cannot be built on these images, or no candidate keeps `max_cost`.
    """

    def __init__(self, config: SearchConfig, dataset: datasets.Dataset, build: Callable[..., keras.Model]):
        self.config = config
        self.build = build
        self.dataset = dataset
        split = dataset.split_validation(config.validation)
        if config.limit is not None:
            split = dataclasses.replace(split, train=split.train.head(min(config.limit, split.train_size)))
        self.split = split
        self.recipe = recipes.get(config.dataset, dataset.input_shape)
        reference = training.prepare(self.run_config(Pattern(REFERENCE, REFERENCE, None)), split, build)
        self._reference = costs.model_costs(reference)
        blocks = blocks_of(reference)
        self.candidates = Candidates(config.widths, config.per_layer, blocks, config.learning_rates)
        measure = f"{config.cost}_{config.cost_of}"
        self.scoring = Scoring(
            config.cost,
            config.cost_of,
            config.cost_weight,
            config.max_cost,
            config.max_error,
            dearest=self.costs_of(self.candidates.pattern(self.candidates.widest()))[measure],
        )
        narrowest = self.candidates.pattern(self.candidates.narrowest())
        least = self.costs_of(narrowest)[measure]
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
        shape = self.dataset.input_shape
        if self.recipe.augmentation is not None:
            shape = self.recipe.augmentation.output_shape(shape)
        model = self.build(self.config.model, pattern.bits, shape, self.dataset.num_classes, self.config.width)
        return costs.relative(costs.model_costs(model), self._reference)

    def run_config(self, pattern: Pattern, epochs: int | None = None, execution: int = 0) -> RunConfig:
        """The training of a pattern, η scaled with k_G."""
        config = self.config
        settings = {
            "dataset": config.dataset,
            "data_dir": config.data_dir,
            "image_size": config.image_size,
            "limit": config.limit,
            "bits": pattern.bits,
            "model": config.model,
            "width": config.width,
            "epochs": epochs or config.epochs,
            "schedule": recipes.format_schedule(self.schedule_of(pattern)),
            "seed": config.seed + execution,
            "checkpoint_steps": 0,
            "histogram_freq": config.histogram_freq,
        }
        return training.configure(self.split, self.recipe, settings)

    def schedule_of(self, pattern: Pattern) -> recipes.Schedule:
        """The recipe's schedule at the pattern's k_G, its first η replaced by the pattern's where it has one."""
        schedule = self.recipe.schedule_for(pattern.bits)
        factor = 1.0 if pattern.learning_rate is None else pattern.learning_rate / self.recipe.schedule[0][1]
        return tuple((epoch, eta * factor) for epoch, eta in schedule)


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

    A pattern that cannot be trained, for whatever reason, gives a failed record scored as chance; one that breaks
    `max_cost` is not trained.

    Args:
        study: What the trials share.
        directory: The search's directory.
        trial_id: Number of the trial.
        values: What the oracle chose.
        epochs: Epochs to train for.
        continued: Number of the trial that this one continues; None for a new training.
        keep_state: Whether another trial may continue this one.
    """
    started = time.monotonic()
    folder = directory.trial(trial_id)
    files.remove_unfinished(folder)
    pattern = study.candidates.pattern(values)
    shares = study.costs_of(pattern)
    cost = shares[study.scoring.key]
    status, reason, errors, fitting = COMPLETED, "", [], 0.0
    if not study.scoring.affords(cost):
        status, reason = TOO_COSTLY, f"costs {cost:.3g} of 8-8-8-8, more than {study.scoring.max_cost:g}"
    for execution in range(study.config.executions if status == COMPLETED else 0):
        training_started = time.monotonic()
        try:
            state = None if continued is None else _state(directory.trial(continued), execution)
            model, error = _train(study, directory, trial_id, pattern, epochs, execution, state, keep_state)
        except Exception as failure:
            status, reason = FAILED, _reason(failure)
            break
        finally:
            fitting += time.monotonic() - training_started
        errors.append(error)
        if error == min(errors):
            with files.replacing(directory.model(trial_id)) as path:
                model.save(path)
    record = _record(
        study,
        trial_id,
        values,
        shares,
        epochs=epochs,
        status=status,
        reason=reason,
        errors=errors,
        seconds=time.monotonic() - started,
        training_seconds=fitting,
    )
    tensorboard.write_trial(directory.tensorboard, record, study.candidates.choices())
    directory.write_record(record)
    return record


def failure(study: Study, trial_id: str, values: Values, reason: str) -> TrialRecord:
    """Returns the record of a trial that could not be run."""
    shares = study.costs_of(study.candidates.pattern(values))
    nothing = {"epochs": 0, "errors": [], "seconds": 0.0, "training_seconds": 0.0}
    return _record(study, trial_id, values, shares, status=FAILED, reason=reason, **nothing)


def _record(study: Study, trial_id: str, values: Values, shares: dict[str, float], **found: object) -> TrialRecord:
    """Returns a trial's record with its pattern, cost and score; what did not train is scored as chance."""
    pattern = study.candidates.pattern(values)
    cost = shares[study.scoring.key]
    error = statistics.fmean(found["errors"]) if found["status"] == COMPLETED else study.chance
    return TrialRecord(
        trial=trial_id,
        values=dict(values),
        pattern=pattern.name,
        bits=pattern.bits,
        schedule=recipes.format_schedule(study.schedule_of(pattern)),
        costs=shares,
        cost=cost,
        score=study.scoring.score(error, cost),
        **found,
    )


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
) -> tuple[keras.Model, float]:
    """Trains once and returns the model and its validation error."""
    keras.backend.clear_session()
    config = study.run_config(pattern, epochs, execution)
    model = training.prepare(config, study.split, study.build)
    folder = directory.trial(trial_id) / f"execution_{execution}"
    folder.mkdir(parents=True, exist_ok=True)
    steps = study.split.steps_per_epoch(config.batch_size)
    recorder = _Recorder(RunDirectory(folder), steps, state=state)
    probe = study.split.probe_batch(min(config.batch_size, _PROBE), study.recipe.augmentation)
    callbacks = [StopOnNonFinite(), StopOnClipping(*probe), StopOnStandstill(study.chance, epochs)]
    if config.histogram_freq and execution == 0:
        logs = directory.tensorboard / f"trial_{trial_id}" / "quantized"
        callbacks.append(QuantizationHistograms(logs, *probe, config.histogram_freq))
    training.fit(model, config, study.split, recorder, callbacks, state, verbose=0)
    if keep_state:
        checkpoints.save(folder, State.of(model, recorder.step, recorder.rows, recorder.seconds))
    return model, recorder.rows[-1]["test_error"]


def _state(folder: Path, execution: int) -> State:
    return checkpoints.load(checkpoints.paths(folder / f"execution_{execution}")[-1])


def _reason(failure: Exception) -> str:
    """Why a training failed, in one line."""
    if isinstance(failure, (Diverged, CannotTrain)):
        return str(failure)
    lines = str(failure).strip().splitlines()
    return f"{type(failure).__name__}: {lines[0][:200] if lines else 'no message'}"
