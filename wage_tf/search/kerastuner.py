"""All that the search needs of KerasTuner beyond its documented interface: its private names are used here alone.

The oracles are made to survive kills: state is written whole, and a reload goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import grpc
import keras_tuner
import numpy as np
import tensorflow as tf
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer
from sklearn.exceptions import ConvergenceWarning

from wage_tf import files
from wage_tf.errors import Failure, UserError
from wage_tf.search.secret import Sender

OBJECTIVE = "score"
_DEFAULT_TRIALS = 20
_PROPOSALS = 100
_COLLISIONS = 1000
_SAMPLE = 4096
_WORKER = re.compile(r"[ -~]{1,100}")


_Oracle: Any = keras_tuner.Oracle if TYPE_CHECKING else object


class SearchOracle(_Oracle):
    """What all oracles have in common; put before KerasTuner's class.

    Writes KerasTuner's files atomically, and runs again what was running when the search was killed.
    """

    @classmethod
    def of(cls, max_trials: int | None, epochs: int, **common: Any) -> Self:
        """Makes the oracle of a search of at most so many trials, None for its own number, of so many epochs."""
        return cls(max_trials=max_trials or _DEFAULT_TRIALS, **common)

    @classmethod
    def fewest_patterns(cls, epochs: int) -> int:
        """The number of patterns without which it cannot begin."""
        return 1

    def planned_trials(self, patterns: int) -> int:
        """The number of trials it runs in a space of so many patterns, if all can be trained and none comes twice."""
        return min(self.max_trials or patterns, patterns)

    def open(
        self,
        folder: Path,
        affords: Callable[[Mapping[str, str]], bool],
        reference: Mapping[str, str],
        reload: bool,
    ) -> None:
        """Keeps the state in a folder, and goes on from what is there, where `reload` asks for it."""
        self.verbose = 0
        self.affords = affords
        self.reference = reference
        self._max_collisions = _COLLISIONS
        self._set_project_dir(str(folder.parent), folder.name)
        if reload and Path(self._get_oracle_fname()).exists():
            self.reload()

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


class _WithinBudget(_Oracle):
    """Draws again what `affords` says cannot be paid for; after 100 times, takes what comes."""

    def _random_values(self) -> dict[str, Any] | None:
        for _ in range(_PROPOSALS):
            values = super()._random_values()
            if values is None or self.affords(values):
                break
        return values


class _ReferenceFirst(_Oracle):
    """Starts with the pattern nearest to 8-8-8-8, so that every search holds what it is compared with."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        if not self.start_order:
            return {"status": TrialStatus.RUNNING, "values": dict(self.reference)}
        return super().populate_space(trial_id)


class GridOracle(SearchOracle, keras_tuner.oracles.GridSearchOracle):
    """Every pattern in turn.

    KerasTuner's own loses its place on a reload, so it is found again from the trials; and it takes the pattern after
    that of a trial when that has ended, in case the trial adds dimensions, which none does here: workers would wait.
    """

    @classmethod
    def of(cls, max_trials: int | None, epochs: int, **common: Any) -> Self:
        return cls(max_trials=max_trials, **common)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        response = super().populate_space(trial_id)
        if response["status"] == TrialStatus.RUNNING:
            self._populate_next.append(trial_id)
        return response

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        by_values = functools.cmp_to_key(
            lambda a, b: self._compare(self.trials[a].hyperparameters.values, self.trials[b].hyperparameters.values)
        )
        for trial_id in sorted(self.trials, key=by_values):
            self._ordered_ids.insert(trial_id)
        self._populate_next = sorted(self.trials)


class RandomOracle(_ReferenceFirst, _WithinBudget, SearchOracle, keras_tuner.oracles.RandomSearchOracle):
    """Patterns at random, none twice."""


class BayesianOracle(_ReferenceFirst, _WithinBudget, SearchOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Patterns by a Gaussian process, none twice; a resumed search chooses as an uninterrupted one would have.

    KerasTuner looks for the best lower confidence bound by gradients between the patterns, which takes seconds and
    often ends at one that was tried; here its process is asked about patterns themselves, all or some at random.
    """

    @classmethod
    def of(cls, max_trials: int | None, epochs: int, **common: Any) -> Self:
        trials = max_trials or _DEFAULT_TRIALS
        first = max(3, min(3 * len(common["hyperparameters"].space), trials // 3))
        return cls(max_trials=trials, num_initial_points=first, **common)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
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


class HyperbandOracle(_WithinBudget, SearchOracle, keras_tuner.oracles.HyperbandOracle):
    """Many patterns for few epochs, the best of them for more."""

    @classmethod
    def of(cls, max_trials: int | None, epochs: int, **common: Any) -> Self:
        oracle = cls(max_epochs=epochs, hyperband_iterations=None if max_trials else 1, **common)
        oracle.max_trials = max_trials
        return oracle

    @classmethod
    def fewest_patterns(cls, epochs: int) -> int:
        oracle = cls(keras_tuner.Objective(OBJECTIVE, "min"), max_epochs=epochs)
        return max(2, oracle._get_size(oracle._get_num_brackets() - 1, 0))

    def planned_trials(self, patterns: int) -> int:
        """As for the others; hyperband repeats patterns, and does not end a bracket that lacks new ones."""
        brackets = range(self._get_num_brackets())[::-1]
        planned, most = 0, self.max_trials or sys.maxsize
        for bracket in itertools.cycle(brackets) if self.max_trials else brackets:
            new = self._get_size(bracket, 0)
            if new > patterns or planned >= most:
                return min(planned + patterns, most)
            patterns -= new
            planned += sum(self._get_size(bracket, turn) for turn in range(bracket + 1))
        return planned


class ChiefLost(Failure, keras_tuner.errors.FatalError):
    """The chief does not answer; fatal, or KerasTuner would take it for a failure of the trial and go on."""


class Loop(BaseTuner):
    """KerasTuner's loop, to which a chief that does not answer at the end of a trial is lost."""

    def send_secret(self, shared: str) -> None:
        """Sends the secret of the search with every question to its chief."""
        address = f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"
        channel = grpc.intercept_channel(grpc.insecure_channel(address), Sender(shared))
        self.oracle.stub = protos.get_service_grpc().OracleStub(channel)

    def _run_and_update_trial(self, trial: Trial, *args: Any, **kwargs: Any) -> None:
        try:
            super()._run_and_update_trial(trial, *args, **kwargs)
        except grpc.RpcError as error:
            raise ChiefLost(f"the chief was lost when trial {trial.trial_id} ended: {error.code().name}") from error


class Servicer(OracleServicer):
    """KerasTuner's answers to the workers; an error in one is the chief's, not that of the worker that asked.

    A question about a trial that is not being run is refused, as is one from a worker without a proper ID.
    """

    failure: Exception | None = None

    def add_to(self, server: grpc.Server) -> None:
        """Lets a server answer workers."""
        protos.get_service_grpc().add_OracleServicer_to_server(self, server)

    def CreateTrial(self, request: Any, context: grpc.ServicerContext) -> Any:
        if not _WORKER.fullmatch(request.tuner_id):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a worker's ID is 1 to 100 printable ASCII characters")
        return self._answer(super().CreateTrial, request, context)

    def UpdateTrial(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._check_running(request.trial_id, context)
        return self._answer(super().UpdateTrial, request, context)

    def EndTrial(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._check_running(request.trial.trial_id, context)
        return self._answer(super().EndTrial, request, context)

    def GetTrial(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._check_running(request.trial_id, context)
        return self._answer(super().GetTrial, request, context)

    def _check_running(self, trial_id: str, context: grpc.ServicerContext) -> None:
        if trial_id not in {trial.trial_id for trial in list(self.oracle.ongoing_trials.values())}:
            context.abort(grpc.StatusCode.NOT_FOUND, f"trial {trial_id[:20]!r} is not being run")

    def _answer(self, method: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except Exception as error:
            self.failure = error
            raise


@contextlib.contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    """Turns what reading a file of KerasTuner's raises where its content is damaged into a UserError."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, tf.errors.OpError) as error:
        cause = error.__cause__ or error
        reason = f"{type(cause).__name__}: {cause}".partition("\n")[0]
        raise UserError(f"{path} is damaged ({reason}): restore it, or start anew in another --run-dir") from error
