"""Trains the runs of an experiment that are not done yet, one after the other: `python -m experiments.run NAME`.

    python -m experiments.run --list                        every experiment: runs done, expected time
    python -m experiments.run mnist authors --seeds 0,1     some variants, some seeds
    python -m experiments.run --all                         everything

Each run is a process of train.py with --resume, in runs/experiments/NAME/VARIANT-sSEED; one
that another experiment has recorded is not trained again. Ctrl-C or SIGTERM end it after a checkpoint, and after any
stop the same command goes on. A second runner leaves a run that is being trained to the first.
"""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments import distributions, provenance, results, spec
from experiments.spec import Experiment, Run
from wage_tf import files
from wage_tf.cli import exits
from wage_tf.cli.parsers import OneLineParser
from wage_tf.errors import UserError
from wage_tf.runs.directory import RunDirectory
from wage_tf.runs.signals import Signals

_DIVERGED = "the training diverged"


@dataclasses.dataclass(frozen=True)
class Runner:
    """Works through a queue of runs.

    Attributes:
        runs_dir: Where run directories are.
        results_dir: Where records are written.
        signals: The command's handlers.
        data_dir: Directory of TensorFlow Datasets; None for the environment's.
    """

    runs_dir: Path
    results_dir: Path
    signals: Signals
    data_dir: str | None = None

    def work(self, queue: Sequence[Run]) -> int:
        """Trains and records what is not recorded yet; returns how many runs failed.

        Raises:
            Stopped: On SIGINT or SIGTERM, after the training has written a checkpoint.
        """
        queue, failed = [run for run in queue if results.read(self.results_dir, run) is None], 0
        for number, run in enumerate(queue, 1):
            print(f"{run.experiment.name} {run}: run {number} of {len(queue)}", flush=True)
            directory = self._directory(run)
            directory.parent.mkdir(parents=True, exist_ok=True)
            with open(directory.with_name(f"{directory.name}.lock"), "w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    print("  another process trains it")
                    continue
                try:
                    self._finish(run, directory, lock.fileno())
                except UserError as error:
                    print(f"  failed: {error}", file=sys.stderr)
                    failed += 1
        return failed

    def record(self, queue: Sequence[Run]) -> None:
        """Only writes the records of runs that are finished, such as those that were started by hand."""
        for run in queue:
            directory = self._directory(run)
            if results.read(self.results_dir, run) is None and _epochs(directory) == run.variant.epochs:
                self._write(run, results.of_finished_run(run, directory, _sessions(directory)), directory)

    def _directory(self, run: Run) -> Path:
        return self.runs_dir / run.experiment.name / str(run)

    def _finish(self, run: Run, directory: Path, lock: int) -> None:
        """Records a run, after its training unless that is done, here or in another experiment."""
        if results.read(self.results_dir, run) is not None or self._recorded_as_another(run):
            return
        diverged = None if _epochs(directory) == run.variant.epochs else self._train(run, directory, lock)
        sessions = _sessions(directory)
        if diverged:
            print(f"  {diverged}")
            record = results.of_diverged_run(run, directory, sessions, diverged)
        elif _epochs(directory) == run.variant.epochs:
            record = results.of_finished_run(run, directory, sessions)
        else:
            raise UserError(f"{directory} holds a run of more epochs: remove it")
        self._write(run, record, directory)

    def _train(self, run: Run, directory: Path, lock: int) -> str | None:
        """Trains a run to its end, in a process that keeps its lock; returns why it diverged, if it did.

        Raises:
            UserError: If it ends in another way.
        """
        arguments = [*map(_expanded, run.arguments), "--run-dir", str(directory), "--resume"]
        if self.data_dir and "data_dir" not in run.variant.settings:
            arguments += ["--data-dir", self.data_dir]
        command = [sys.executable, "train.py", *arguments]
        files.write_json(provenance.path_beside(directory), [*_sessions(directory), provenance.session()])
        with subprocess.Popen(
            command, cwd=provenance.ROOT, stderr=subprocess.PIPE, text=True, pass_fds=[lock], start_new_session=True
        ) as training:
            errors = self.signals.communicate(training)[1]
        last = (errors.strip().splitlines() or ["it printed nothing"])[-1]
        if training.returncode == 1 and _DIVERGED in last:
            return last.partition(": error: ")[2]
        if training.returncode:
            raise UserError(f"exit code {training.returncode}: {last}")
        return None

    def _recorded_as_another(self, run: Run) -> bool:
        """Records the figures of the same training in another experiment; returns whether there is one."""
        experiments = [spec.load(name) for name in spec.names()]
        others = [Run(other, variant, run.seed) for other in experiments for variant in other.variants]
        for other in (other for other in others if other.training == run.training):
            record, directory = results.read(self.results_dir, other), self._directory(other)
            measures = run.experiment.figure == "distributions"
            if record is None or (measures and _epochs(directory) != run.variant.epochs):
                continue
            print(f"  the same training as {other.experiment.name} {other}", flush=True)
            self._write(run, results.of_same_training(run, record), directory)
            return True
        return False

    def _write(self, run: Run, record: dict[str, object], directory: Path) -> None:
        if run.experiment.figure == "distributions" and record["status"] == "done":
            record["distributions"] = distributions.of_run(directory, self.data_dir)
        results.write(self.results_dir, record)
        print(f"  recorded {results.path_of(self.results_dir, run)}", flush=True)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = OneLineParser(prog="experiments.run", description=__doc__)
    result.add_argument("experiment", nargs="?", metavar="NAME", help="an experiment, or the path of a .toml file")
    result.add_argument("variants", nargs="*", metavar="VARIANT", help="only these variants (default: all)")
    result.add_argument("--all", action="store_true", help="every experiment, the quick ones first")
    result.add_argument("--list", action="store_true", help="say what is done and how long the rest takes")
    result.add_argument("--record", action="store_true", help="train nothing, only record runs that are finished")
    result.add_argument("--seeds", type=_seeds, metavar="N,N", help="in place of the experiment's")
    result.add_argument("--data-dir", metavar="DIR", help="directory of TensorFlow Datasets (default: TFDS_DATA_DIR)")
    result.add_argument("--runs-dir", type=Path, default=provenance.ROOT / "runs" / "experiments", metavar="DIR")
    result.add_argument("--results-dir", type=Path, default=results.FOLDER, metavar="DIR")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, 1 if a run failed, 2 wrong input, 128 + the signal."""
    arguments = parser()
    args = arguments.parse_args(argv)
    again = ["python", "-m", "experiments.run", *(sys.argv[1:] if argv is None else argv)]
    return exits.run(arguments.prog, functools.partial(_run, args), again)


def _run(args: argparse.Namespace, signals: Signals) -> int:
    chosen = spec.names() if args.all or (args.list and not args.experiment) else [args.experiment]
    if chosen == [None]:
        raise UserError("an experiment, --all or --list is wanted")
    experiments = sorted((spec.load(name) for name in chosen), key=lambda experiment: experiment.minutes)
    if args.list:
        for experiment in experiments:
            print(_status(experiment, _queue(experiment, args), args.results_dir))
        return 0
    queue = [run for experiment in experiments for run in _queue(experiment, args)]
    data_dir = args.data_dir and os.path.abspath(args.data_dir)
    runner = Runner(args.runs_dir.absolute(), args.results_dir.absolute(), signals, data_dir)
    if args.record:
        runner.record(queue)
        return 0
    return 1 if runner.work(queue) else 0


def _sessions(directory: Path) -> list[dict]:
    """Time, commit and hardware of each start of a run; none for one that was started by hand."""
    path = provenance.path_beside(directory)
    return json.loads(path.read_text()) if path.exists() else []


def _epochs(directory: Path) -> int | None:
    """The epochs that train.py took a run to its end with; None if it has not."""
    found = RunDirectory(directory).read_results()
    return None if found is None else found.epochs


def _queue(experiment: Experiment, args: argparse.Namespace) -> list[Run]:
    named = [experiment.variant(name) for name in args.variants]
    variants = named or [variant for variant in experiment.variants if not variant.needs]
    return [Run(experiment, variant, seed) for seed in args.seeds or experiment.seeds for variant in variants]


def _status(experiment: Experiment, queue: Sequence[Run], results_dir: Path) -> str:
    left = [run for run in queue if results.read(results_dir, run) is None]
    seconds = sum(run.variant.epochs * run.experiment.seconds_per_epoch for run in left)
    done = f"{len(queue) - len(left)} of {len(queue)} runs"
    return f"{experiment.name:20} {done:16} {duration(seconds):>12} left   {experiment.title}"


def _expanded(argument: str) -> str:
    missing = [name for name in re.findall(r"\$(\w+)", argument) if name not in os.environ]
    if missing:
        raise UserError(f"the environment has no {missing[0]}, which this experiment needs")
    return os.path.expandvars(argument)


def _seeds(text: str) -> list[int]:
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"seeds are integers such as 0,1; received {text!r}")
    return [int(seed) for seed in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
