"""A search from its first trial to its results: alone, as a chief with workers, or as one of those workers."""

from __future__ import annotations

import collections
import dataclasses
import warnings
from collections.abc import Callable, Sequence

import keras

from wage_tf import files
from wage_tf.errors import Failure
from wage_tf.runs import training
from wage_tf.search import best, oracles, pareto, plots, records, report, tensorboard, trials
from wage_tf.search.directory import SearchDirectory
from wage_tf.search.processes import Workers, serve, talking_to_chief
from wage_tf.search.records import TrialRecord
from wage_tf.search.tuner import WageTuner


class NothingTrained(Failure):
    """All trials failed; the message names the commonest reason."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came out of a search.

    Attributes:
        table: The Pareto front for a terminal.
        best: The trial of the best score.
        keeps_constraint: Whether that trial keeps `max_cost` or `max_error`.
    """

    table: str
    best: TrialRecord
    keeps_constraint: bool


class Session:
    """One session of a search.

    Args:
        study: What the trials share.
        directory: The search's directory, made.
        print_line: Prints a line about a trial.
    """

    def __init__(self, study: trials.Study, directory: SearchDirectory, print_line: Callable[[str], None]):
        self.study = study
        self.directory = directory
        self.print_line = print_line
        self.oracle = oracles.create(study.config, study.candidates, directory, study.affords)
        self.planned = self.oracle.planned_trials(study.candidates.size)
        self._printed = {record.trial for record in directory.records()}

    def run_alone(self) -> None:
        """Runs all trials in this process."""
        self._open()
        WageTuner(self.oracle, self.study, self.directory, lambda record: self._report(1)).search()

    def run_chief(
        self, address: str, port: int, shared: str, command: Sequence[str], workers: int, check: Callable[[], None]
    ) -> None:
        """Runs all trials in worker processes, `workers` of them started here by `command`.

        More may join that know the secret `shared`. `check` is called again and again; what it raises ends them all.
        """
        self._open()
        team = Workers(command, workers, self.directory.workers, self._give_up, self.print_line)

        def watch() -> None:
            self._report(max(1, workers))
            check()

        serve(self.oracle, address, port, shared, team, watch)

    def finish(self, command: str, seconds: float) -> Outcome:
        """Evaluates those of the front's models that were not yet on the test set, and writes the results.

        Args:
            command: What the user typed.
            seconds: Wall-clock time of the search.

        Raises:
            NothingTrained: If no trial was completed.
        """
        study, config, directory = self.study, self.study.config, self.directory
        found = directory.records()
        records.write_table(directory.trials, found)
        chosen = pareto.best(found)
        if not found:
            raise NothingTrained("no trial was run")
        if chosen is None:
            reasons = collections.Counter(record.reason for record in found)
            reason, count = reasons.most_common(1)[0]
            raise NothingTrained(f"none of {len(found)} trials could be trained; {count} of them: {reason}")
        front = pareto.front(found)
        self._remove_states()
        self._keep_models(front, found)
        tests = self._test_errors(front) if study.dataset.test_size else {}
        records.write_table(directory.pareto, front, tests)
        best.write(directory, config, study.scoring, chosen, tests.get(chosen.trial))
        plots.draw(directory.picture, found, front, chosen, study.scoring.cost_label, study.candidates.choices())
        text = report.report(config, study.scoring, found, front, chosen, tests, command, seconds)
        files.write_bytes(directory.report, text.encode())
        keeps = study.scoring.accepts(chosen.error, chosen.cost)
        return Outcome(report.front_table(front, chosen, tests), chosen, keeps)

    def _open(self) -> None:
        files.remove_unfinished(self.directory.path)
        if not self.directory.tensorboard.exists():
            tensorboard.write_space(self.directory.tensorboard, self.study.candidates.choices())

    def _report(self, parallel: int) -> None:
        """Prints the trials that have ended since the last call, and drops the models that are not needed."""
        ended = [trial_id for trial_id in list(self.oracle.end_order) if trial_id not in self._printed]
        new = [record for record in map(self.directory.record, ended) if record is not None]
        if not new:
            return
        self._printed.update(record.trial for record in new)
        found = self.directory.records()
        records.write_table(self.directory.trials, found)
        self._keep_models(pareto.contenders(found, self.study.config.epochs), found)
        mean = sum(record.seconds for record in found) / len(found)
        left = mean * max(0, self.planned - len(self._printed)) / parallel
        for number, record in enumerate(new, len(self._printed) - len(new) + 1):
            place = f"[{number}/{max(self.planned, number)}] "
            self.print_line(place + report.progress_line(record) + report.time_left(left))

    def _give_up(self, trial_id: str, reason: str) -> None:
        """Records a trial in which workers died as failed."""
        record = trials.failure(self.study, trial_id, oracles.choice_of(self.oracle.trials[trial_id]), reason)
        tensorboard.write_trial(self.directory.tensorboard, record, self.study.candidates.choices())
        self.directory.write_record(record)

    def _keep_models(self, kept: Sequence[TrialRecord], ended: Sequence[TrialRecord]) -> None:
        """Removes the models of the other trials that have ended, if those of the front alone are asked for."""
        if self.study.config.keep == "front":
            for trial in {record.trial for record in ended} - {record.trial for record in kept}:
                self.directory.model(trial).unlink(missing_ok=True)

    def _test_errors(self, front: Sequence[TrialRecord]) -> dict[str, float]:
        """Returns the front's test errors, percent, by trial; each is measured once, and kept."""
        found = self.directory.test_errors()
        for record in front:
            error = self._test_error(record) if record.trial not in found else found[record.trial]
            if error is not None:
                found[record.trial] = error
        files.write_json(self.directory.tests, found)
        return found

    def _test_error(self, record: TrialRecord) -> float | None:
        """Evaluates a trial's model on the test set; None if there is no model that can be read."""
        path = self.directory.model(record.trial)
        try:
            model = keras.saving.load_model(path)
        except Exception:
            warnings.warn(f"{path} is missing or damaged: trial {record.trial} has no test error", stacklevel=2)
            return None
        batches = self.study.dataset.test_batches(training.TEST_BATCH, self.study.config.recipe.augmentation)
        return float(model.evaluate(batches, verbose=0, return_dict=True)["error"])

    def _remove_states(self) -> None:
        """Removes the states from which hyperband goes on, which a finished search needs no more."""
        for path in self.directory.oracle.glob("trial_*/execution_*/*.ckpt"):
            path.unlink()


def run_worker(
    study: trials.Study,
    directory: SearchDirectory,
    print_line: Callable[[str], None],
    report_error: Callable[[str], object],
    address: str,
    port: int,
    shared: str,
) -> None:
    """Runs the trials that the chief at an address gives, until it says that the search is over.

    Args:
        study: What the trials share.
        directory: The search's directory.
        print_line: Prints a line about a trial.
        report_error: Prints the error of a worker that ends because its chief is gone.
        address: Where the chief listens.
        port: Its port.
        shared: The secret that the chief knows its workers by.

    Raises:
        UserError: If the directory is not that of the chief's search, or the chief has another secret.
        ChiefLost: If there is no chief, or it ends the connection.
    """
    with talking_to_chief(address, port, report_error):
        directory.check_same_search(study.config)
        oracle = oracles.create(study.config, study.candidates, directory, reload=False)
        tuner = WageTuner(oracle, study, directory, lambda record: print_line(report.progress_line(record)))
        tuner.send_secret(shared)
        tuner.search()
