"""KerasTuner's loop around our trials, in one process or as a worker of a chief."""

from __future__ import annotations

import time
from collections.abc import Callable

import keras_tuner

from wage_tf.search import trials
from wage_tf.search.directory import SearchDirectory
from wage_tf.search.kerastuner import OBJECTIVE, Loop, Trial
from wage_tf.search.oracles import choice_of
from wage_tf.search.records import TrialRecord

_PAUSE_SECONDS = 0.5


class _SearchEnds(keras_tuner.errors.FatalError):
    """Carries an error through KerasTuner, which would take it for a failure of the trial and go on."""


class WageTuner(Loop):
    """Runs the trials that an oracle asks for.

    Where KerasTuner's environment variables name a chief, KerasTuner puts its gRPC client in the oracle's place.

    Args:
        oracle: From `oracles.create`, with its project directory set.
        study: What the trials share.
        directory: The search's directory.
        report: Called after every trial.
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        study: trials.Study,
        directory: SearchDirectory,
        report: Callable[[TrialRecord], None] = lambda record: None,
    ):
        super().__init__(oracle, directory=str(directory.path), project_name=directory.oracle.name)
        self.study = study
        self.search_directory = directory
        self.report = report
        self._waiting = False

    def search(self) -> None:
        """Runs trials until the oracle has no more.

        Raises:
            Exception: What a trial raises, which is left as it was: `--resume` runs it again.
            ChiefLost: If the chief is gone.
        """
        try:
            super().search()
        except _SearchEnds as error:
            raise error.__cause__ from None

    def pre_create_trial(self) -> None:
        """Pauses between two questions to an oracle that has nothing to run; KerasTuner would ask without end."""
        if self._waiting:
            time.sleep(_PAUSE_SECONDS)
        self._waiting = True

    def on_trial_begin(self, trial: Trial) -> None:
        self._waiting = False

    def run_trial(self, trial: Trial) -> dict[str, float]:
        """Trains a pattern; one that was trained before the search was stopped is only reported again."""
        record = self.search_directory.record(trial.trial_id)
        if record is None:
            chosen = trial.hyperparameters.values
            try:
                record = trials.run(
                    self.study,
                    self.search_directory,
                    trial.trial_id,
                    choice_of(trial),
                    chosen.get("tuner/epochs", self.study.config.epochs),
                    continued=chosen.get("tuner/trial_id"),
                    keep_state="tuner/epochs" in chosen,
                )
            except Exception as error:
                raise _SearchEnds from error
        return {OBJECTIVE: record.score}

    def on_trial_end(self, trial: Trial) -> None:
        super().on_trial_end(trial)
        record = self.search_directory.record(trial.trial_id)
        if record is not None:
            self.report(record)

    def save(self) -> None:
        """The oracle saves itself; a worker has nothing to save."""
